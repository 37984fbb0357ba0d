"""Training a folder of few pictures, and the sub-commands ``compare``, ``explore`` and ``evaluate``."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fmnist_runtime.errors import CheckpointError
from fmnist_train.checkpoint import load_checkpoint, read_metrics, read_tensors, save_checkpoint, write_tensors
from fmnist_train.cli import app
from fmnist_train.comparison.compare import _exported
from fmnist_train.comparison.table import SECTION
from fmnist_train.console import run_typer
from fmnist_train.data.fashion_mnist import CSV_FILES
from fmnist_train.data.sources import find_dataset
from fmnist_train.files import split_at_section

ROOT = Path(__file__).parents[2]
COMPARE = ("compare", "batchnorm", "--data", "sample", "--epochs", "1", "--seeds", "2")
RUNS = Path("runs/batchnorm-sample-seed0"), Path("runs/batchnorm-sample-seed1")


FEW = ("--recipe", "custom", "--epochs", "1", "--channels", "4", "--hidden", "8", "--quiet")


def call(*args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = json.loads(call(*COMPARE, "--ensemble", ",".join(map(str, RUNS)), "--json"))
    assert [row["name"] for row in rows] == ["batchnorm", "mean of batchnorm 0, batchnorm 1"]
    assert rows[0]["parameters"] == 18_494 and rows[0]["accuracy_std"] is not None
    assert rows[1]["parameters"] == 2 * 18_494 and rows[1]["accuracy"] > 0.3
    table = Path("runs/comparison/comparison.md").read_text()
    assert "88.74%" in table and "± " in table and Path("runs/comparison/comparison.png").stat().st_size > 10_000
    before = (RUNS[0] / "metrics.json").stat().st_mtime_ns
    call(*COMPARE, "--reuse-only")
    assert (RUNS[0] / "metrics.json").stat().st_mtime_ns == before
    assert "precision" in call("evaluate", RUNS[0], "--data", "sample")
    assert (RUNS[0] / "evaluation" / "report.html").is_file()
    assert "Ankle boot" in call("explore", "--data", "sample") and Path("runs/explore/samples.png").is_file()
    rows_outlive_their_runs(rows)


def test_compare_takes_no_run_of_another_recipe_and_stops_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    once = ("compare", "batchnorm", "--data", "sample", "--epochs")
    call(*once, "1")
    assert run_typer(app, args=[*once, "2"]) == 2
    assert "another recipe (epochs)" in capsys.readouterr().err
    monkeypatch.setattr("fmnist_train.comparison.compare.train", lambda *_: {"interrupted": True})
    assert run_typer(app, args=[*once, "1", "--runs", "others"]) == 130


def test_a_recipe_s_earlier_name_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("--recipe",), ("explore", "--recipe"), ("compare",)):
        assert run_typer(app, args=[*command, "improved-best", "--data", str(tmp_path / "missing")]) == 1
        note, error = capsys.readouterr().err.splitlines()
        assert note == "note: the recipe 'improved-best' is now called 'improved'" and error.startswith("error:")


def rows_outlive_their_runs(rows: list[dict]) -> None:
    """An exported run gets a latency; later, without any run, all rows stay, and the latency is measured again."""
    from fmnist_export.pipeline import ExportOptions, export
    from fmnist_export.settings import Limits

    export(RUNS[0], ExportOptions(quantize=True, limits=Limits(100, 100, 100, 0, 0), data="sample"))
    (exported, _) = json.loads(call(*COMPARE, "--reuse-only", "--json"))
    assert exported["latency_us"] > 0 and exported["int8_bytes"] > 10_000
    kept = Path("runs/comparison") / RUNS[0].name
    assert {path.name for path in kept.iterdir()} == {"metrics.json", "history.csv", "model.int8.onnx"}
    shutil.rmtree(RUNS[0] / "export")
    (again, _) = json.loads(call(*COMPARE, "--reuse-only", "--json"))
    assert again["int8_bytes"] == exported["int8_bytes"] and (kept / "model.int8.onnx").is_file()
    for run in RUNS:
        shutil.rmtree(run)
    Path("README.md").write_text(
        "Table:\n<!-- comparison: written by fmnist-train compare --readme -->\nold\n<!-- end of comparison -->\nEnd.\n"
    )
    stayed = json.loads(call(*COMPARE, "--reuse-only", "--readme", "README.md", "--json"))
    timed = ("latency_us", "latency_measured")
    same = [{key: row[key] for key in row if key not in timed} for row in stayed]
    assert same == [{key: row[key] for key in row if key not in timed} for row in (exported, rows[1])]
    assert stayed[0]["latency_us"] != exported["latency_us"] and stayed[1]["latency_us"] is None
    text = Path("README.md").read_text()
    assert text.startswith("Table:") and text.endswith("End.\n") and "old" not in text and "| batchnorm | " in text
    assert split_at_section(Path("README.md"), *SECTION)[1] == "\nEnd.\n"


def test_a_readme_without_marks_is_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("Nothing.")
    folders = ("--runs", tmp_path / "runs", "--output", tmp_path / "out", "--readme", tmp_path / "README.md")
    assert run_typer(app, args=[*COMPARE, *map(str, folders)]) == 1
    assert "must contain these two lines, each once" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def write_things(folder: Path, seed: int = 0, first: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name, level in (("sofa", 60), ("lamp", 180)):
        (folder / name).mkdir(parents=True, exist_ok=bool(first))
        for number in range(first, first + 12):
            pixels = rng.integers(level, level + 60, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.bmp")  # its bytes depend on no compressor


def test_few_pictures_are_compared_in_batches_that_fit_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_things(Path("things"))
    once = ("compare", "batchnorm", "custom", "--data", "things", "--epochs", "1", "--json")
    rows = json.loads(call(*once))
    assert [row["name"] for row in rows] == ["batchnorm", "custom"]
    again = json.loads(call(*once, "--reuse-only"))
    assert [row["accuracy"] for row in again] == [row["accuracy"] for row in rows]
    metrics = Path("runs/custom-things-seed0/metrics.json")
    stored = json.loads(metrics.read_text())
    stored["recipe"]["batch_size"] *= 2
    metrics.write_text(json.dumps(stored))
    capsys.readouterr()
    assert run_typer(app, args=[*once]) == 2
    assert "another recipe (batch_size)" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "hat"])
def test_results_are_not_written_among_the_images(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_things(Path("things"))
    before = sorted(Path("things").rglob("*"))
    output = Path("things") / next(path.name for path in before if path.is_dir()) if place == "hat" else Path("things")
    data = ("--data", "things")
    for command in (
        ("--recipe", "batchnorm", "--epochs", "1", "--quiet"),
        ("explore",),
        ("evaluate", str(ROOT / "artifacts" / "nano")),
    ):
        assert run_typer(app, args=[*command, *data, "--output", str(output)]) == 2
        assert f"error: {output} holds the data set's images: choose another --output" in capsys.readouterr().err
    assert sorted(Path("things").rglob("*")) == before
    monkeypatch.chdir("things")  # the folder of runs is in that of the images
    for seed in (0, 1):
        call("--recipe", "batchnorm", "--epochs", 1, "--data", ".", "--seed", seed, "--quiet")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("--recipe", "batchnorm", "--epochs", "1", "--quiet"), ("best.safetensors", "history.csv")),
        (("evaluate", str(ROOT / "artifacts" / "nano")), ("evaluation.json", "report.html")),
        (("explore",), ("explore.json", "samples.png")),
        (("compare", "batchnorm"), ("comparison.md", "comparison.png")),
    ],
    ids=lambda value: value[0],
)
def test_files_of_others_are_not_replaced(
    command: tuple[str, ...], names: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
        assert run_typer(app, args=[*command, "--data", "sample", "--output", str(tmp_path)]) == 2
        assert f"{tmp_path / name} exists and would be replaced: remove it" in capsys.readouterr().err
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
        (tmp_path / name).unlink()


def test_an_exploration_that_was_killed_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    once = ("explore", "--data", "sample", "--output", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("fmnist_train.evaluation.explore.write_means", killed)
        assert run_typer(app, args=list(once)) == 130
    call(*once)
    assert (tmp_path / "transforms.png").is_file()


def test_a_comparison_replaces_no_run_and_no_files_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    once = ("compare", "batchnorm", "--data", "sample", "--epochs", "1")
    for name in ("metrics.json", "history.csv", "model.int8.onnx"):
        kept = tmp_path / "mine" / "batchnorm-sample-seed0" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("mine")
        assert run_typer(app, args=[*once, "--output", "mine"]) == 2
        assert f"{kept.relative_to(tmp_path)} exists and would be replaced" in capsys.readouterr().err
        assert kept.read_text() == "mine"
        kept.unlink()
    call(*once)
    call(*once)  # replaces its own
    (tmp_path / "runs" / "batchnorm-sample-seed0" / "model.int8.onnx").write_text("mine")
    assert run_typer(app, args=[*once, "--output", "runs"]) == 2
    assert "runs/batchnorm-sample-seed0 is a run itself: give another --output" in capsys.readouterr().err
    assert (tmp_path / "runs" / "batchnorm-sample-seed0" / "model.int8.onnx").read_text() == "mine"
    comparison = tmp_path / "runs" / "comparison" / "comparison.json"
    rows = comparison.read_text().replace('"dataset": "sample"', '"dataset": "things"')
    for text, code, message in (
        (rows, 2, "holds a comparison on things, not on sample"),
        ('[{"dataset": "x"}]', 1, "not a comp"),
    ):
        comparison.write_text(text)
        assert run_typer(app, args=list(once)) == code
        assert message in capsys.readouterr().err and comparison.read_text() == text


def test_a_full_disk_after_an_epoch_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "history.csv")

    options = [each for each in FEW if each != "--quiet"]
    run = [*options, "--data", "sample", "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_train.training.run._write_history", full)
        assert run_typer(app, args=run) == 1
    note, error = capsys.readouterr().err.splitlines()[-2:]
    assert note == f"{tmp_path}/run keeps the run so far: the command goes on with it if --resume is added"
    assert error.startswith("error: history.csv: No space left on device; make space there")
    assert run_typer(app, args=[*run, "--resume"]) == 0


def test_a_run_that_was_killed_in_its_first_epoch_starts_again(tmp_path: Path) -> None:
    """It leaves a checkpoint without the file that ``--resume`` needs; a later checkpoint alone is somebody's weights."""
    once = (*FEW, "--data", "sample", "--output", str(tmp_path))
    call(*once)
    for path in tmp_path.iterdir():
        if not path.name.startswith("best."):
            path.unlink()
    call(*once)
    assert (tmp_path / "metrics.json").is_file()
    checkpoint = load_checkpoint(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    save_checkpoint(tmp_path / "best", checkpoint.model, {**checkpoint.info, "epoch": 2})
    assert run_typer(app, args=list(once)) == 2


@pytest.mark.parametrize("copied", [0, 7, 30])
def test_test_images_that_training_has_seen_give_a_warning(
    copied: int, tmp_path: Path, write_csv_folder: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_csv_folder(tmp_path / "data")
    train, test = (folder / name for name in CSV_FILES.values())
    rows = test.read_text().splitlines()[1 : 1 + copied]
    with train.open("a") as file:
        file.writelines(f"{row}\n" for row in rows)
    call(*FEW, "--data-dir", folder, "-o", tmp_path / "run")
    warning = f"{folder}: test images that training has seen: {copied} of 30; the accuracy is too high"
    assert (warning in caplog.messages) is bool(copied) and ("has seen" in caplog.text) is bool(copied)


def test_test_images_of_an_earlier_training_give_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Photos may move from one split to the other between two commands."""
    from fmnist_export.pipeline import ExportOptions, export
    from fmnist_export.settings import Limits

    monkeypatch.chdir(tmp_path)
    write_things(Path("things/train"))
    write_things(Path("things/test"), seed=1)
    data = ("--data", "things")
    call(*FEW, *data, "-o", "run")
    options = ExportOptions(data="things", limits=Limits(100, 100, 100, 0, 0))
    call("evaluate", "run", *data)
    export(Path("run"), options)
    assert seen_lines(caplog) == []
    for number in range(3):
        Path(f"things/train/lamp/{number}.bmp").rename(f"things/test/lamp/moved{number}.bmp")
    call("evaluate", "run", *data)
    export(Path("run"), options)
    call("compare", "custom", *data, "--reuse-only", "--ensemble", "run")
    call(*FEW, *data, "-o", "next", "--start", "run")  # its first weights have seen them
    call("evaluate", "next", *data)
    assert seen_lines(caplog) == ["things: test images that training has seen: 3 of 27; the accuracy is too high"] * 5


def train_on_things() -> None:
    """Makes the folder ``things`` with both splits, and the run ``run``."""
    for split in ("train", "test"):
        write_things(Path("things", split), seed=len(split))
    call(*FEW, "--data", "things", "-o", "run")


def test_images_added_after_a_training_are_the_validation_of_its_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fmnist_export.pipeline import _splits

    monkeypatch.chdir(tmp_path)
    train_on_things()
    checkpoint, source = load_checkpoint(Path("run")), find_dataset("things")
    images = source.load("train").images
    before = _splits(checkpoint, source)
    assert len(before[0]) + len(before[1]) == len(images) and caplog.text == ""
    write_things(Path("things", "train"), seed=9, first=100)
    train, validation = _splits(checkpoint, find_dataset("things"))
    assert sorted(image.tobytes() for image in train.images) == sorted(image.tobytes() for image in images)
    assert not {image.tobytes() for image in validation.images} & {image.tobytes() for image in images}
    assert f"things: {len(validation)} images were added after the training; the probabilities and" in caplog.text


def test_added_images_may_make_the_first_weights_know_the_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    train_on_things()
    call(*FEW, "--data", "things", "--start", "run", "-o", "again")
    call(*FEW, "--data", "things", "--start", "run", "--validation", "1", "-o", "fewer")
    assert "may have learned" not in caplog.text
    call(*FEW, "--data", "things", "--start", "run", "--validation", "0.5", "-o", "larger")
    assert "the first weights may have learned: up to " in caplog.text and "training held out fewer" in caplog.text
    caplog.clear()
    write_things(Path("things", "train"), seed=9, first=100)
    call(*FEW, "--data", "things", "--start", "run", "--validation", "0.5", "-o", "more")
    assert "things: validation images that the first weights may have learned: up to " in caplog.text


def test_a_larger_validation_split_of_a_published_set_has_images_of_the_first_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    call(*FEW, "--data", "sample", "--validation", "0.2", "-o", "run")
    call(*FEW, "--data", "sample", "--validation", "0.2", "--start", "run", "-o", "again")
    assert "may have learned" not in caplog.text
    call(*FEW, "--data", "sample", "--validation", "0.5", "--start", "run", "-o", "more")
    images = len(find_dataset("sample").load("train"))
    more, all_ = round(0.5 * images) - round(0.2 * images), round(0.5 * images)
    assert f"may have learned: up to {more} of {all_}, because their training held out fewer" in caplog.text


def seen_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "has seen" in line]  # PyTorch's exporter logs, too


@pytest.mark.parametrize("change", ["other", "added", "fewer"])
def test_compare_takes_no_run_of_other_images(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_things(Path("things"))
    once = ("compare", "custom", "--data", "things", "--epochs", "1")
    call(*once)
    (row,) = json.loads(next(Path().rglob("comparison.json")).read_text())
    assert row["claim"] is None  # the author's is of Fashion-MNIST
    if change == "fewer":  # smaller batches fit them, which once made it another recipe
        for file in (file for file in Path("things").rglob("*.bmp") if int(file.stem) >= 6):
            file.unlink()
    elif change == "other":
        shutil.rmtree("things")
        write_things(Path("things"), seed=1)
    else:
        for number in range(3):
            Image.new("L", (28, 28), 90 + number).save(f"things/sofa/new{number}.bmp")
    capsys.readouterr()
    assert run_typer(app, args=[*once]) == 2
    message = f"error: {Path('runs/custom-things-seed0')} was trained on other images of things: give another --runs"
    assert message in capsys.readouterr().err
    assert run_typer(app, args=[*once, "--reuse-only", "--output", "other"]) == 1
    assert "no finished run under 'runs'" in capsys.readouterr().err
    call(*once, "--runs", "others")


def test_compare_takes_no_run_of_other_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        write_things(Path("things", split), seed=len(split))
    once = ("compare", "custom", "--data", "things", "--epochs", "1")
    call(*once)
    Image.new("L", (28, 28), 90).save("things/test/sofa/new.bmp")
    capsys.readouterr()
    assert run_typer(app, args=[*once]) == 2
    message = f"error: {Path('runs/custom-things-seed0')} was tested on other images of things: give another --runs"
    assert message in capsys.readouterr().err
    for runs in ("runs", "gone"):  # nor their row of the earlier comparison
        assert run_typer(app, args=[*once, "--runs", runs, "--reuse-only"]) == 1
        assert f"no finished run under '{runs}'" in capsys.readouterr().err


def test_compare_takes_runs_whose_images_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_things(Path("things"))
    once = ("compare", "custom", "--data", "things", "--epochs", "1", "--json")
    rows = json.loads(call(*once))
    state = Path("runs/custom-things-seed0/last.safetensors")
    tensors, info = read_tensors(state)
    del info["data_sha256"]  # as earlier versions wrote it
    write_tensors(state, tensors, info)
    metrics = json.loads(Path("runs/custom-things-seed0/metrics.json").read_text())
    del metrics["test_sha256"]
    Path("runs/custom-things-seed0/metrics.json").write_text(json.dumps(metrics))
    assert [row["accuracy"] for row in json.loads(call(*once))] == [row["accuracy"] for row in rows]


def test_few_pictures_get_smaller_batches_unless_their_size_was_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_things(tmp_path / "things")
    few = (
        "--data",
        str(tmp_path / "things"),
        "--recipe",
        "custom",
        "--epochs",
        "1",
        "--channels",
        "4",
        "--hidden",
        "8",
    )
    assert run_typer(app, args=[*few, "--output", str(tmp_path / "run")]) == 0
    messages = capsys.readouterr().err
    assert "batches of 4 images, because 17 do not fill the 128 of the recipe" in messages
    assert 0 <= messages.find("2 classes: lamp 10, sofa 9") < messages.find("1/1"), messages
    assert load_checkpoint(tmp_path / "run").info["recipe"]["batch_size"] == 4
    assert run_typer(app, args=[*few, "--output", str(tmp_path / "other"), "--batch-size", "64"]) == 2
    assert "lower --batch-size" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["", "{", "5", "[5]", '[{"name": "x"}]', '[{"name": "x", "dataset": "sample", "runs": ["x"]}]', "[" * 100_000],
)
def test_a_damaged_earlier_comparison_is_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.json").write_text(content)
    assert run_typer(app, args=[*COMPARE, "--reuse-only", "--output", str(tmp_path)]) == 1
    assert "comparison.json: not a comparison of this command; remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        {"accuracy": "x"}, {"accuracy": -5}, {"accuracy": 10**400}, {"interval": None}, {"interval": [0.5]}, {"runs": 5},
        {"parameters": "x"}, {"float_bytes": float("inf")}, {"claim": 5}, {"name": None}, {"int8_accuracy": 95.3},
    ],
)  # fmt: skip
def test_impossible_figures_of_an_earlier_comparison_are_one_line(
    damage: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "comparison" / "comparison.json"
    row, *_ = json.loads(shipped.read_text())
    (tmp_path / "comparison.json").write_text(json.dumps([row | {"dataset": "sample"} | damage]))
    assert run_typer(app, args=[*COMPARE, "--reuse-only", "--output", str(tmp_path)]) == 1
    assert "comparison.json: not a comparison of this command; remove it" in capsys.readouterr().err


def test_a_run_with_damaged_figures_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / RUNS[0].name
    run.mkdir()
    (run / "metrics.json").write_text('{"seed": 0}')
    assert (
        run_typer(app, args=[*COMPARE, "--reuse-only", "--runs", str(tmp_path), "--output", str(tmp_path / "new")]) == 1
    )
    assert (
        "metrics.json is missing or damaged: the command of the run, with --resume, writes it anew"
        in capsys.readouterr().err
    )


FIGURES = json.loads((Path(__file__).parents[2] / "artifacts" / "nano" / "metrics.json").read_text())


@pytest.mark.parametrize(
    "damage",
    [
        {"accuracy_interval": None}, {"accuracy_interval": "ab"}, {"accuracy_interval": [0.5]},
        {"accuracy_interval": [0.1, 10**400]}, {"accuracy": float("nan")}, {"accuracy": 10**400}, {"accuracy": True},
        {"training_seconds": 10**400}, {"training_seconds": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_figures_that_cannot_be_are_damage(damage: dict, tmp_path: Path) -> None:
    whole = tmp_path / "metrics.json"
    whole.write_text(json.dumps(FIGURES))
    assert read_metrics(tmp_path) == FIGURES
    place = FIGURES if "training_seconds" in damage else FIGURES["test"]
    whole.write_text(json.dumps(FIGURES | (damage if place is FIGURES else {"test": place | damage})))
    with pytest.raises(CheckpointError, match=r"metrics\.json is missing or damaged"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        {"files": [1]}, {"files": {"float32": []}}, {"files": {"int8": {"bytes": "x"}}}, {"files": None},
        {"accuracy": None}, {"accuracy": {"int8": None}}, {"accuracy": {"int8": {"accuracy": float("nan")}}},
        {"accuracy": {"int8": {"accuracy": [1]}}}, {"files": {"int8": {"bytes": 10**400}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_report_of_an_export_is_one_line(damage: dict, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(Path(__file__).parents[2] / "artifacts" / "nano")
    report = tmp_path / "export" / "parity.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"checkpoint_sha256": checkpoint.sha256}))
    assert _exported(tmp_path, checkpoint)["int8_bytes"] is None
    report.write_text(json.dumps({"checkpoint_sha256": checkpoint.sha256, **damage}))
    with pytest.raises(CheckpointError, match=r"parity\.json is damaged: export .* again, .*, or remove the file"):
        _exported(tmp_path, checkpoint)
