"""The search for better values: it resumes, is shared, prunes, survives failures, and never reads the test set."""

import contextlib
import dataclasses
import errno
import html
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="tuning needs the extra `tune`")

import optuna

from fmnist_train.cli import app
from fmnist_train.console import run_typer
from fmnist_train.data.sources import DataSource
from fmnist_train.recipes import RECIPES, Augmentation, Recipe, read_recipe
from fmnist_train.settings import settings_of
from fmnist_train.training.loop import TrainingError
from fmnist_train.training.run import RunInputs
from fmnist_train.training.state import Epoch
from fmnist_train.tuning import database, study
from fmnist_train.tuning.charts import Line, draw
from fmnist_train.tuning.space import own_values, search_space, searchable, with_values

GUIDE = Path(__file__).parents[3] / "docs" / "tuning.md"
TUNE = ("tune", "custom", "--data", "sample", "--quiet")


class FakeTraining:
    """A run with the accuracies of a list or of a function's list, or that ends with an exception."""

    def __init__(self, outcome: Any, recipe: Recipe) -> None:
        self.outcome, self.recipe, self.history = outcome, recipe, list[Epoch]()

    def run(self, report: Callable[[Epoch], None], tick: Callable[[int, int], None]) -> None:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        for number, accuracy in enumerate(self.outcome() if callable(self.outcome) else self.outcome, 1):
            self.history.append(Epoch(number, 1.0, 0.5, 1.0, accuracy, self.recipe.learning_rate, 0.1))
            report(self.history[-1])

    def best_epoch(self) -> int:
        return max(self.history, key=lambda epoch: epoch.validation_accuracy or 0).epoch


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Outcomes of the next trials, in order; the recipes that were tried are appended to ``tried``."""
    monkeypatch.chdir(tmp_path)
    outcomes: list[Any] = []

    def training(inputs: RunInputs, recipe: Recipe, *_: object) -> FakeTraining:
        tried.append(recipe)
        return FakeTraining(outcomes.pop(0), recipe)

    tried.clear()
    monkeypatch.setattr(RunInputs, "training", training)
    return outcomes


tried: list[Recipe] = []


def tune(capsys: pytest.CaptureFixture[str], *options: object, code: int = 0) -> dict[str, Any]:
    assert run_typer(app, args=[*TUNE, "--json", *map(str, options)]) == code
    out = capsys.readouterr().out
    return json.loads(out) if out else {}


def test_a_real_search_resumes_and_reads_no_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    load, parts = DataSource.load, []

    def watched(source: DataSource, part: str) -> Any:
        parts.append(part)
        return load(source, part)

    monkeypatch.setattr(DataSource, "load", watched)
    first = tune(capsys, "--trials", 1, "--epochs", 1)
    assert first["trials"] == {"complete": 1, "pruned": 0, "failed": 0} and first["best"]["trial"] == 0
    second = tune(capsys, "--trials", 2, "--epochs", 1)
    assert second["trials"]["complete"] == 2 and second["best"]["accuracy"] >= first["best"]["accuracy"]
    assert tune(capsys, "--trials", 2, "--epochs", 1) == second and set(parts) == {"train"}
    recipe = read_recipe(second["recipe"])
    assert recipe.name == "custom-tuned" and recipe == with_values(
        RECIPES["custom"], second["best"]["values"], "custom-tuned"
    )
    once = ["--recipe", second["recipe"], "--epochs", "1", "--data", "sample", "--quiet", "--json"]
    assert run_typer(app, args=once) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["validation"]["accuracy"] == second["best"]["accuracy"]
    page = Path(second["history"]).read_text("utf-8")
    assert "Tuning custom" in page and page.count("<circle") >= 2 and "://" not in page and "<script" not in page


def test_short_trials_do_not_shorten_the_written_recipe(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], [0.4]]
    results = tune(capsys, "--trials", 1, "--epochs", 1)
    assert tried[-1].epochs == 1
    assert read_recipe(results["recipe"]).epochs == results["epochs"] == RECIPES["custom"].epochs > 1
    assert run_typer(app, args=[*TUNE, "--trials", "2", "--epochs", "1"]) == 0
    expected = f"It trains for {RECIPES['custom'].epochs} epochs, as the recipe did before (a trial: 1)"
    assert expected in capsys.readouterr().out


def test_processes_share_a_study(tmp_path: Path) -> None:
    code = "import sys; from fmnist_train.cli import main; sys.argv[0] = 'fmnist-train'; main()"
    network = {"model": "custom", "model_options": {"channels": [4], "hidden": [8]}, "epochs": 1}
    (tmp_path / "tiny.json").write_text(json.dumps(network))
    command = [sys.executable, "-c", code, "tune", "tiny.json", "--trials", "4", "--data", "sample", "--json"]
    started = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=300)[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0]
    # Between the count of trials and the next one, another process may begin one more.
    assert max(sum(answer["trials"].values()) for answer in answers) in (4, 5)
    last = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert last["best"] == max((answer["best"] for answer in answers), key=lambda best: best["accuracy"])


def test_a_queued_trial_has_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = [database.open_study(tmp_path, "", prune_after=1, epochs=1) for _ in range(2)]
    studies[0].enqueue_trial({"x": 1.0})
    read = threading.Barrier(2)

    def both_have_read(*_: object) -> None:  # the moment between the state's check and its change
        with contextlib.suppress(threading.BrokenBarrierError):
            read.wait(timeout=1)

    monkeypatch.setattr(optuna.storages.RDBStorage, "check_trial_is_updatable", both_have_read)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda study: study.optimize(lambda trial: trial.number, n_trials=1), studies))
    assert [trial.value for trial in studies[0].trials] == [0, 1]


def test_a_trial_below_the_median_is_pruned(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.9], [0.1, 0.2, 0.3, 0.99]]
    results = tune(capsys, "--trials", 3, "--epochs", 4, "--prune-after", 2)
    assert results["trials"] == {"complete": 2, "pruned": 1, "failed": 0}
    assert results["best"]["trial"] == 1 and results["best"]["accuracy"] == 0.9 and results["best"]["epoch"] == 4
    assert "pruned" in Path(results["history"]).read_text("utf-8")


def test_the_first_trial_has_the_recipe_s_own_values(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], [0.4]]
    results = tune(capsys, "--trials", 2, "--epochs", 1, "--only", "learning-rate,flip")
    own, other = tried
    assert own == dataclasses.replace(RECIPES["custom"], epochs=1)
    assert results["best"]["values"] == {"learning_rate": 0.001, "flip": 0}
    same = with_values(other, {"learning_rate": own.learning_rate, "flip": own.augmentation.flip})
    assert other != own and same == own


def test_a_failed_trial_is_recorded_and_the_search_goes_on(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], TrainingError("the loss is <b>no</b> number"), RuntimeError("out of memory"), [0.6]]
    results = tune(capsys, "--trials", 4, "--epochs", 1)
    assert results["trials"] == {"complete": 2, "pruned": 0, "failed": 2} and results["best"]["trial"] == 3
    page = Path(results["history"]).read_text("utf-8")
    assert "the loss is &lt;b&gt;no&lt;/b&gt; number" in page and "RuntimeError: out of memory" in page


def test_without_a_complete_trial_the_command_fails(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [TrainingError("the loss is no number")] * 2
    assert run_typer(app, args=[*TUNE, "--trials", "2"]) == 1
    assert capsys.readouterr().err == "error: no trial was completed; the first error: the loss is no number\n"
    assert not Path("runs/tune-custom-sample/best.json").exists()


def test_after_an_interrupt_the_same_command_goes_on(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], KeyboardInterrupt(), [0.6], [0.7]]
    tune(capsys, "--trials", 3, "--epochs", 1, code=130)
    assert read_recipe("runs/tune-custom-sample/best.json").learning_rate == 0.001
    results = tune(capsys, "--trials", 3, "--epochs", 1)
    assert results["trials"] == {"complete": 3, "pruned": 0, "failed": 0} and results["best"]["accuracy"] == 0.7
    assert tried[1] == tried[2] != tried[3]
    assert "interrupted" in Path(results["history"]).read_text("utf-8")


def test_a_renamed_folder_goes_on_under_any_name(
    fake: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake += [[0.5], [0.6], [0.7]]
    tune(capsys, "--trials", 1, "--epochs", 1, "--output", "study")
    Path("study").rename("renamed")
    tune(capsys, "--trials", 2, "--epochs", 1, "--output", "renamed")
    monkeypatch.chdir("renamed")
    found = tune(capsys, "--trials", 3, "--epochs", 1, "--output", ".")
    assert found["trials"] == {"complete": 3, "pruned": 0, "failed": 0} and not fake


def test_the_trial_of_a_killed_process_is_tried_again(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os; from fmnist_train.cli import main; from fmnist_train.training.run import RunInputs\n"
        "RunInputs.training = lambda *_: os._exit(9)\nmain()"
    )
    command = [sys.executable, "-c", code, *TUNE, "--trials", "2", "--epochs", "1"]
    assert subprocess.run(command, env={**os.environ, "TMPDIR": str(Path.cwd())}).returncode == 9
    fake += [[0.5], [0.4]]
    results = tune(capsys, "--trials", 2, "--epochs", 1)
    assert results["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
    assert tried[0] == dataclasses.replace(RECIPES["custom"], epochs=1, weight_decay=1e-6) and tried[1] != tried[0]


def test_a_trial_that_another_process_failed_is_left(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    import optuna

    def sleep() -> list[float]:
        storage = optuna.storages.RDBStorage("sqlite:///runs/tune-custom-sample/study.db")
        study = optuna.load_study(study_name="tune-custom-sample", storage=storage)
        study.tell(0, state=optuna.trial.TrialState.FAIL)
        return [0.9]

    fake += [sleep, [0.5]]
    results = tune(capsys, "--trials", 1, "--epochs", 1)
    assert results["trials"]["complete"] == 1 and results["best"]["accuracy"] == 0.5


def test_progress_is_a_line_for_each_trial(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], TrainingError("too hot"), [0.25]]
    assert run_typer(app, args=[*TUNE[:-1], "--trials", "3", "--epochs", "1", "--only", "flip"]) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert "trial 0: flip 0" in lines and "trial 1: failed: too hot; best 50.00% (trial 0)" in lines
    assert any(re.fullmatch(r"trial 2: validation 25\.00%, \d+ s; best 50\.00% \(trial 0\)", line) for line in lines)
    assert "best validation accuracy 50.00% (trial 0), of 2 complete, 0 pruned and 1 failed" in captured.out


def test_the_advice_keeps_the_options_of_the_trials(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5], [0.5]]
    options = ("--trials", "1", "--epochs", "1", "--output", "my study", "--threads", "1", "--no-mixed-precision")
    command = "fmnist-train --recipe 'my study/best.json' --data sample --no-mixed-precision --threads 1"
    assert run_typer(app, args=[*TUNE, *options]) == 0
    assert f"train it with: {command}\n" in capsys.readouterr().out
    assert tune(capsys, *options)["command"] == command
    assert f"<code>{html.escape(command).replace('&#x27;', '&#39;')}</code>" in Path("my study/history.html").read_text(
        "utf-8"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("tune", "custm"), "unknown recipe 'custm' (did you mean 'custom'?)"),
        (("tune", "bad.json"), "bad.json: unknown field 'epoch' (did you mean 'epochs'?)"),
        (("tune", "gone.json"), "gone.json: no such recipe file"),
        (("tune", "custom", "--only", "flipp"), "no range for 'flipp' (did you mean 'flip'?)"),
        (("tune", "custom", "--only", "momentum"), "'momentum' has no effect on recipe 'custom'"),
        (("tune", "batchnorm"), "recipe 'batchnorm' has no validation images"),
        (("tune", "custom", "--validation", "1e-9"), "validation"),
    ],
)
def test_bad_input_gives_one_line(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text('{"model": "custom", "epoch": 1}')
    assert run_typer(app, args=[*options, "--trials", "1", "--data", "sample", "--quiet"]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not Path("runs").exists() or "1e-9" in options


@pytest.mark.parametrize("name", ["best.json", "history.html"])
@pytest.mark.parametrize("shared", [False, True])
def test_files_of_others_are_not_replaced(
    name: str, shared: bool, tmp_path: Path, fake: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fake += [[0.5]]
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / name).write_text("mine")
    options = ["--trials", "1", "--epochs", "1", "--output", str(folder)]
    options += ["--storage", f"sqlite:///{tmp_path / 'shared.db'}"] if shared else []
    for _ in range(2):
        assert run_typer(app, args=[*TUNE, *options]) == 2
        assert f"{folder / name} exists and would be replaced: remove it" in capsys.readouterr().err
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]
    (folder / name).unlink()
    tune(capsys, *options)
    tune(capsys, *options)  # of the same study


def test_a_study_of_another_search_is_refused(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5]]
    tune(capsys, "--trials", 1, "--epochs", 1, "--output", "study")
    for options, message in (
        (("--epochs", "2"), "its study has another recipe (epochs)"),
        (("--epochs", "1", "--seed", "1"), "its study has another seed"),
        (("--epochs", "1", "--only", "flip"), "its study has another search space (erase,"),
    ):
        assert run_typer(app, args=[*TUNE, "--trials", "2", "--output", "study", *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: study: {message}") and "another --output" in line


def test_a_file_that_is_no_study_is_refused(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("study").mkdir()
    Path("study/study.db").write_bytes(b"no database" * 100)
    assert run_typer(app, args=[*TUNE, "--trials", "1", "--output", "study"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "study.db: no study of fmnist-train tune can be opened here (file is not a database)" in line
    assert run_typer(app, args=[*TUNE, "--trials", "1", "--storage", "magic://user:secret@host/x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --storage: no study") and "secret" not in line


@pytest.mark.parametrize("table", ["notes", "studies"])
def test_the_database_of_another_program_is_not_changed(
    table: str, fake: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "_ATTEMPTS", 2)
    Path("study").mkdir()
    with contextlib.closing(sqlite3.connect("study/study.db")) as file:
        file.execute(f"CREATE TABLE {table} (text)")
    before = Path("study/study.db").read_bytes()
    assert run_typer(app, args=[*TUNE, "--trials", "1", "--output", "study"]) == 1
    assert "study.db: the database of another program; name another --output" in capsys.readouterr().err
    assert Path("study/study.db").read_bytes() == before


def test_a_study_without_trials_does_not_open_a_folder(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("study").mkdir()
    Path("study/study.db").touch()
    Path("study/history.html").write_text("mine")
    assert run_typer(app, args=[*TUNE, "--trials", "1", "--output", "study"]) == 2
    assert "history.html exists and would be replaced" in capsys.readouterr().err
    assert Path("study/history.html").read_text() == "mine"


def test_a_full_disk_uses_no_trial(
    fake: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake += [[0.5], [0.6]]
    options = (*TUNE, "--trials", "2", "--epochs", "1", "--output", "study")
    with monkeypatch.context() as patch:
        patch.setattr(study._Trials, "_train", full_disk)
        assert run_typer(app, args=[*options]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert tune(capsys, *options[len(TUNE) :])["trials"] == {"complete": 2, "pruned": 0, "failed": 0}


def full_disk(*_: object) -> float:
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE trial_user_attributes SET value_json = '"x"' WHERE key = 'seconds'""",
        "UPDATE trial_user_attributes SET value_json = 'null' WHERE key = 'epoch'",
        "UPDATE trial_user_attributes SET value_json = '[1]' WHERE key = 'process'",
        "UPDATE trial_user_attributes SET value_json = 'x' WHERE key = 'process'",
        """UPDATE study_user_attributes SET value_json = '"x"'""",
        "UPDATE study_user_attributes SET value_json = '{'",
        "UPDATE study_directions SET direction = 'MINIMIZE'",
        "UPDATE trial_params SET param_name = 'bogus' WHERE param_name = 'learning_rate'",
        "DELETE FROM trial_params WHERE param_name = 'learning_rate'",
        """UPDATE trial_params SET distribution_json =
        '{"name": "CategoricalDistribution", "attributes": {"choices": ["a"]}}', param_value = 0
        WHERE param_name = 'learning_rate'""",
        "UPDATE trial_values SET value = 'abc'",
        "UPDATE trial_values SET value = 17.5",
        "UPDATE trial_values SET value_type = 'INF_POS', value = NULL",
    ],
)
def test_a_damaged_study_is_one_line(change: str, fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake += [[0.5]]
    tune(capsys, "--trials", 1, "--epochs", 1, "--output", "study")
    with contextlib.closing(sqlite3.connect("study/study.db")) as file, file:
        assert file.execute(change).rowcount == 1
    assert run_typer(app, args=[*TUNE, "--trials", "2", "--epochs", "1", "--output", "study"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: study/study.db: no study of fmnist-train tune can be opened here (")


def test_a_study_that_another_program_created_to_minimize_is_refused(
    fake: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """``optuna create-study`` does so unless it is told otherwise; the search would look for the worst values."""
    optuna.create_study(storage="sqlite:///all.db", study_name="study")
    options = ["--trials", "1", "--epochs", "1", "--output", "study", "--storage", "sqlite:///all.db"]
    assert run_typer(app, args=[*TUNE, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --storage: no study of fmnist-train tune can be opened here (its study does not max")


@pytest.mark.parametrize("name", ["a?mode=memory", "a%41", "a#b", "ä b"])
def test_the_database_is_in_the_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    database.open_study(tmp_path / name, "", prune_after=1, epochs=1)
    assert list(tmp_path.iterdir()) == [tmp_path / name] and (tmp_path / name / "study.db").is_file()


def test_a_folder_whose_name_is_no_text_is_refused(fake: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_typer(app, args=[*TUNE, "--trials", "1", "--output", os.fsdecode(b"a\xff")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a\\udcff/study.db: no study of fmnist-train tune can be opened here")


def test_without_optuna_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run_typer(app, args=[*TUNE, "--trials", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: tune needs: pip install '.[tune]' in a checkout, or pip install '") and "whl" in line


@pytest.mark.parametrize("name", RECIPES)
def test_ranges_are_values_that_the_recipe_can_have(name: str) -> None:
    recipe = RECIPES[name]
    space = search_space(recipe)
    assert {"learning_rate", "weight_decay"} <= {parameter.name for parameter in space} <= set(searchable())
    for place in ("low", "high"):
        with_values(recipe, {parameter.name: getattr(parameter, place) for parameter in space})
    for parameter in space:
        assert parameter.low <= own_values(space)[parameter.name] <= parameter.high
    augmented = {parameter.name for parameter in space} & {each.name for each in dataclasses.fields(Augmentation)}
    assert bool(augmented) != bool(recipe.stored_views)


def test_the_guide_has_the_table_of_ranges() -> None:
    rows = [
        f"| `{name}` | {about.search.low:g} to {about.search.high:g}{', logarithmic' if about.search.log else ''} |"
        for owner in (Recipe, Augmentation)
        for name, about in settings_of(owner).items()
        if about.search
    ]
    section = GUIDE.read_text("utf-8").partition("## What it searches")[2]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    assert [" |".join(line.split(" |")[:2]) + " |" for line in table] == rows


def test_a_chart_needs_a_point_and_scales_single_ones() -> None:
    assert draw([Line([], "best")], "x", "y") is None
    chart = draw([Line([(0.01, 0.5)], "best")], "x", "y", log=True)
    assert chart is not None and chart.left < chart.lines[0].points[0][0] < chart.right
