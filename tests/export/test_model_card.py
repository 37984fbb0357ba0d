"""The evidence beside shipped models: all seeds of the recipe and no other run, and a card whose figures are theirs."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist_export.evidence import collect_evidence
from fmnist_export.metadata import build_metadata
from fmnist_export.model_card import model_card
from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits, QuantizationSettings
from fmnist_runtime.errors import CheckpointError
from fmnist_runtime.files import write_together
from fmnist_train.checkpoint import load_checkpoint, read_tensors, write_tensors
from fmnist_train.recipes import current_name, get_recipe
from fmnist_train.training.progress import Progress
from fmnist_train.training.run import RunOptions, train

LIMITS = Limits(max_drop=5, max_class_drop=50, min_agreement=0.9, max_latency_ratio=0)


def write_evidence(run: Path, folder: Path, report: dict) -> None:
    write_together(folder, *collect_evidence(run, folder, report))


@pytest.mark.slow
def test_evidence_of_two_seeds(tmp_path: Path) -> None:
    small = {"epochs": 1, "validation": 100, "distillation": 0.0, "stored_views": 0}
    recipe = get_recipe("nano", {"widths": (4, 4, 4)}, **small)
    runs = [tmp_path / "runs" / f"seed{seed}" for seed in (0, 1)]
    figures = [
        train(recipe, RunOptions("sample", output=run, seed=seed), Progress(quiet=True))
        for seed, run in enumerate(runs)
    ]
    other = get_recipe("nano", {"widths": (4, 4, 8)}, **small)
    train(other, RunOptions("sample", output=tmp_path / "runs" / "other", seed=2), Progress(quiet=True))
    options = ExportOptions(quantize=True, quantization=QuantizationSettings(images=64), limits=LIMITS, data="sample")
    report = export(runs[1], options)
    folder = tmp_path / "shipped"
    shutil.copytree(runs[1] / "export", runs[0] / "export")  # of other weights, so not of this run
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "metrics.json").write_text('{"recipe": ')
    earlier = json.loads((runs[0] / "metrics.json").read_text())
    earlier["recipe"] |= {"teacher": "a-former-name", "weight_drop": 0.006}  # as an earlier version stored it
    (runs[0] / "metrics.json").write_text(json.dumps(earlier))
    write_evidence(runs[1], folder, report)
    rows = json.loads((folder / "metrics.json").read_text())["seeds"]
    assert [(row["seed"], row["test"]) for row in rows] == [(f["seed"], f["test"]["accuracy"]) for f in figures]
    assert "int8" not in rows[0] and rows[1]["int8"] == report["accuracy"]["int8"]["accuracy"]
    card = (folder / "README.md").read_text()
    mean = sum(f["test"]["accuracy"] for f in figures) / 2
    assert f"over 2 seeds: {mean:.2%}" in card
    assert f"{report['model']['parameters']:,} parameters" in card and "model.int8.onnx" in card
    assert not re.search(r"\b(None|nan)\b", card)
    # An export of other weights into the same folder leaves nothing there that the runtime could take for its own.
    plain = ExportOptions(output=runs[1] / "export", limits=LIMITS, data="sample")
    export(runs[0], plain)
    assert {path.name for path in plain.output.iterdir()} == {"model.onnx", "parity.json", "parity.txt", "SHA256SUMS"}
    assert "int8" not in (plain.output / "SHA256SUMS").read_text()
    # Once the runs are gone, what was known of the other seed stays.
    shutil.rmtree(runs[0])
    write_evidence(folder, folder, report)
    assert len(json.loads((folder / "metrics.json").read_text())["seeds"]) == 2
    # Damaged files are named where they are needed, and replaced where they are not.
    (folder / "metrics.json").write_text('{"recipe": ')
    with pytest.raises(CheckpointError, match="damaged"):
        write_evidence(folder, folder, report)
    (plain.output / "parity.json").write_text('{"files": ')
    export(runs[1], plain)
    assert json.loads((plain.output / "parity.json").read_text())["checkpoint_sha256"]


def test_card_counts_validation_photos_by_accepted_answers() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    metrics |= {"start": "ef" * 32}
    logits = np.eye(10, dtype=np.float32)[[1, 1, 4, 6, 3]]  # the predicted classes
    answers = np.zeros((5, 10), bool)
    for photo, accepted in enumerate([(1,), (1,), (2, 4), (2, 4), ()]):  # the last photo shows no garment
        answers[photo, list(accepted)] = True
    card = model_card(metrics, report, photos=(logits, answers))
    section = card.split("## Evaluation on photos")[1].split("\n## ")[0]
    assert "Of 4 validation photos" in section and "75.0% are classified" in section
    rows = [line for line in section.splitlines() if line.endswith(" 2 |")]
    assert rows == ["| Trouser | 100.0% | 2 |", "| Pullover or Coat | 50.0% | 2 |"]
    assert "Evaluation on photos" not in model_card(metrics, report)


def test_a_run_that_was_interrupted_is_said_to_be() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    card = model_card(metrics | {"interrupted": True, "epochs_trained": 7, "epoch": 5}, report)
    assert "Of 7 of 45 epochs, after which the run was interrupted, epoch 5 was taken" in card
    assert "interrupted" not in model_card(metrics, report)


@pytest.mark.parametrize(
    ("monitor", "choice", "chosen"),
    [
        (
            "photos",
            "The epoch was chosen by the mean accuracy on validation images and photos.",
            "Epoch, temperature and",
        ),
        ("last", "It is the last epoch, whatever the validation figures.", "Temperature and"),
        ("loss", "The epoch was chosen on validation images alone.", "Temperature and"),
    ],
)
def test_the_card_says_what_chose_the_epoch_of_the_fine_tuning(monitor: str, choice: str, chosen: str) -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    metrics["recipe"]["monitor"] = monitor
    photos = np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)
    card = model_card(metrics | {"start": "ef" * 32}, report, photos=photos)
    assert choice in card and f"{chosen} reject threshold were chosen on these photos" in card.replace("\n", " ")


def test_any_class_name_is_one_cell() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    metrics |= {"dataset": "/a/my|things", "teachers": []}
    metrics["test"]["per_class"][0]["label"] = "a|b\\ `c*\n<d>"
    metrics["test"]["most_confused"][0]["label"] = "a`b"
    photos = np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)
    card = model_card(metrics | {"start": "ef" * 32}, report, photos=photos)
    rows = [line for line in card.splitlines() if line.startswith(r"| a\|b\\ \`c\*")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5, 4], "by class, and photos"
    assert all(r"\<d>" in row for row in rows)
    assert r"folder my\|things." in card and r"a\`b classified as" in card


def test_card_names_teachers_first_weights_and_what_was_chosen_on_what() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    info = json.loads((shipped / "best.json").read_text())
    metrics |= {key: info[key] for key in ("teachers", "start")}
    photos = np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)
    text = model_card(metrics, report, photos=photos).split("## Training")[1].split("\n## ")[0]
    names = [*metrics["recipe"]["teacher"].split(","), metrics["recipe"]["photo_teacher"]]
    for name, sha256 in zip([*map(current_name, names), "improved"], [*info["teachers"], info["start"]], strict=True):
        assert f"{name} ({sha256[:12]})" in text
    assert "The only targets are the mean outputs" in text and "50% of the targets of photos" in text
    # Teachers that the recipe does not name, and targets that are labels in part.
    metrics["teachers"] = ["ab" * 32]
    assert "outputs of other networks (SHA-256 abababababab)" in model_card(metrics, report, photos=photos)
    recipe = {**metrics["recipe"], "distillation": 0.7, "teacher": "teacher,hybrid", "photo_distillation": 0.0}
    card = model_card(metrics | {"recipe": recipe, "teachers": ["ab" * 32, "cd" * 32]}, report, photos=photos)
    assert "70% of the targets are the mean outputs of teacher (abababababab), hybrid (cdcdcdcdcdcd) for" in card
    assert "outputs" not in model_card({**metrics, "teachers": []}, report).split("## Training")[1].split("\n## ")[0]


def test_the_card_of_own_photos_for_fine_tuning_claims_neither_source_nor_license() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    photos = np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)
    own = model_card(metrics, report, photos=photos)
    assert not re.search("Clothing dataset|CC0|Bags", own) and own.count("owner") == 2 and "--start" not in own
    public = model_card(metrics, report, photos=photos, public_photos=True)
    assert all(words in public for words in ("Clothing dataset", "The photos are CC0.", "Bags are absent"))
    given = {"recipe": {**metrics["recipe"], "start": ""}, "teachers": ["ab" * 32]}
    commands = model_card(metrics | given, report, photos=photos).split("```sh\n")[1].splitlines()
    assert " --start FIRST_WEIGHTS --teacher TEACHERS --photos FOLDER" in commands[0]


def test_a_second_phase_of_any_seed_begins_with_the_first_weights_that_it_finds() -> None:
    """Those are of seed 0: another seed has no first phase of its own, unless one is named."""
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    photos = np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)
    commands = model_card(metrics | {"seed": 3}, report, photos=photos).split("```sh\n")[1].splitlines()
    assert commands[:2] == [
        "fmnist-train --recipe nano --seed 0",
        "fmnist-train --recipe nano-photos --seed 3 --photos FOLDER",
    ]


def test_card_of_an_average_lists_its_runs_and_how_to_make_it_again() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    metrics |= {"start": "ef" * 32, "teachers": []}
    metrics["averaged"] = [
        {"seed": seed, "epoch": 5 + seed, "validation": 0.9 + seed / 100, "test": 0.8} for seed in (0, 1)
    ]
    metrics["seeds"] = metrics["averaged"]
    card = model_card(metrics, report, photos=(np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)))
    assert "mean of 2 runs that differ in their seeds, 0 and 1 (epochs 5 and 6 of" in card
    assert "| 0 | 90.00% | 80.00% | – |\n| 1 | 91.00% | 80.00% | – |\n| their average | " in card
    commands = card.split("```sh\n")[1].split("```")[0].splitlines()
    assert commands == [
        "fmnist-train --recipe improved --seed 0",
        "fmnist-train --recipe improved-photos --seed 0 --photos FOLDER",
        "fmnist-train --recipe improved-photos --seed 1 --photos FOLDER",
        "fmnist-train average runs/improved-photos-seed0 runs/improved-photos-seed1 --photos FOLDER "
        "--output runs/improved-photos-average",
        "fmnist-export runs/improved-photos-average --quantize --evidence",
    ]


def test_the_card_of_own_photos_with_changed_options_is_true_of_them() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    del metrics["start"]
    recipe = get_recipe("custom", epochs=10).to_dict()
    card = model_card(metrics | {"dataset": "/a/shop", "teachers": [], "recipe": recipe}, report)
    assert "fmnist-train --recipe best.json --seed 0 --data DATA\n" in card
    assert "a photo of one object on" in card and "Several objects in one photo" in card
    assert "garment" not in card and "No photo was used" not in card
    named = model_card(metrics | {"teachers": [], "recipe": get_recipe("custom").to_dict()}, report)
    assert "fmnist-train --recipe custom --seed 0\n" in named and "No photo was used in training" in named


def test_names_in_foreign_figures_are_no_markup() -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "improved"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    name = "a```\n\n<script>alert(1)</script>"
    recipe = metrics["recipe"] | {"name": name, "start": name, "teacher": name}
    foreign = metrics | {"recipe": recipe, "model": {"name": name}, "teachers": ["ab" * 32] * 2, "start": "ef" * 32}
    card = model_card(foreign, report, photos=(np.eye(10, dtype=np.float32), np.eye(10, dtype=bool)))
    assert not re.search(r"(?<!\\)<script|^<|a```", card, re.MULTILINE) and "alert" in card


@pytest.mark.parametrize(("dataset", "known"), [("fashion-mnist", True), ("sample", True), ("/a/shop", False)])
def test_the_license_of_weights_from_own_images_is_their_owner_s(dataset: str, known: bool) -> None:
    artifacts = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((artifacts / name).read_text()) for name in ("metrics.json", "parity.json"))
    card = model_card(metrics | {"dataset": dataset, "teachers": []}, report)
    assert ("MIT for the weights" in card, "and Fashion-MNIST." in card) == (known, known)
    assert ("The owner of the images decides" in card) != known
    again = card.split("```sh\n")[1].split("```")[0]
    given, run = {
        "fashion-mnist": ("", "nano-photos-seed"),
        "sample": (" --data sample", "nano-photos-sample-seed"),
        "/a/shop": (" --data DATA", "nano-photos-DATA-seed"),
    }[dataset]
    assert {line.count(" --data") for line in again.splitlines()} == {bool(given)} and given in again and run in again
    checkpoint = load_checkpoint(artifacts)
    fields = build_metadata(replace(checkpoint, info={**checkpoint.info, "dataset": dataset}), 1, 1.0, {})
    assert fields["licence"].startswith("MIT" if known else "decided by the owner of the images")


@pytest.mark.parametrize(
    ("own", "sibling", "earlier"),
    [
        ({}, {"seed": "1"}, {}), ({}, {"epoch": None}, {}), ({}, {"test": None}, {}), ({}, {"exported": [1]}, {}),
        ({}, {"recipe": {"augmentation": "ab"}}, {}),
        ({}, {}, {"seeds": [1]}), ({}, {}, {"seeds": None}), ({}, {}, {"seeds": [{"seed": 2}]}),
        ({"test": {}}, {}, {}), ({"recipe": None}, {}, {}), ({"averaged": 1}, {}, {}), ({"model": 1}, {}, {}),
    ],
)  # fmt: skip
def test_damaged_figures_are_named_or_left_out(own: dict, sibling: dict, earlier: dict, tmp_path: Path) -> None:
    """Those of the run itself are named; those of other runs, and of the evidence that is replaced, are left out."""
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    for name, damage in (("seed0", own), ("seed1", {"seed": 1} | sibling), ("seed0/export", {"seeds": []} | earlier)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics | damage))
    if own:
        with pytest.raises(CheckpointError, match=r"seed0/metrics\.json is .*damaged.*--resume"):
            write_evidence(tmp_path / "seed0", tmp_path / "seed0" / "export", report)
    else:
        write_evidence(tmp_path / "seed0", tmp_path / "seed0" / "export", report)
        assert (tmp_path / "seed0" / "export" / "README.md").is_file()


def write_run(run: Path, damage: dict, **figures: object) -> dict:
    """Writes a run like that of nano, with other entries in its checkpoint's description; returns the export's report."""
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    metrics, report = (json.loads((shipped / name).read_text()) for name in ("metrics.json", "parity.json"))
    tensors, info = read_tensors(shipped / "best.safetensors")
    run.mkdir()
    write_tensors(run / "best.safetensors", tensors, info | damage)
    (run / "metrics.json").write_text(json.dumps(metrics | figures))
    return report


@pytest.mark.parametrize("damage", [{"photos": {"count": 3}}, {"photos": 1}, {"teachers": [1]}, {"start": None}])
def test_a_damaged_description_is_named_and_leaves_the_evidence(damage: dict, tmp_path: Path) -> None:
    report = write_run(tmp_path / "run", damage)
    with pytest.raises(CheckpointError, match=r"best\.safetensors: .*description"):
        write_evidence(tmp_path / "run", tmp_path / "export", report)
    assert not (tmp_path / "export").exists()


def test_figures_of_other_weights_are_named(tmp_path: Path) -> None:
    """As they are after a run was interrupted, resumed, and killed: metrics.json is written at its end."""
    report = write_run(tmp_path / "run", {}, checkpoint_sha256="ab" * 32)
    with pytest.raises(CheckpointError, match=r"metrics\.json has the figures of other weights than the checkpoint"):
        write_evidence(tmp_path / "run", tmp_path / "export", report)
    assert not (tmp_path / "export").exists()


def test_seeds_of_runs_and_of_earlier_evidence_are_known_by_the_same_teachers(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "artifacts" / "nano"
    teachers = json.loads((shipped / "metrics.json").read_text())["teachers"]
    report = write_run(tmp_path / "seed0", {}, test_sha256="ab" * 32)
    write_run(tmp_path / "seed1", {}, seed=1)
    write_run(tmp_path / "others", {"teachers": ["ab" * 32]}, seed=3)
    write_run(tmp_path / "other-data", {}, seed=4, dataset="dogs")
    write_run(tmp_path / "other-test-images", {}, seed=5, test_sha256="cd" * 32)
    write_run(tmp_path / "other-images", {}, seed=6)
    write_run(tmp_path / "no-first-weights", {}, seed=7)
    tensors, info = read_tensors(tmp_path / "no-first-weights" / "best.safetensors")
    metrics = json.loads((tmp_path / "no-first-weights" / "metrics.json").read_text())
    del info["start"], metrics["start"]
    write_tensors(tmp_path / "no-first-weights" / "best.safetensors", tensors, info)
    (tmp_path / "no-first-weights" / "metrics.json").write_text(json.dumps(metrics))
    for name in ("seed0", "seed1", "other-images"):
        data = ("ef" if name == "other-images" else "ab") * 32
        write_tensors(tmp_path / name / "last.safetensors", {}, {"data_sha256": data})
    evidence, row = tmp_path / "export" / "metrics.json", {"seed": 2, "epoch": 1, "validation": 0.9, "test": 0.9}
    evidence.parent.mkdir()
    earlier = json.loads((shipped / "metrics.json").read_text()) | {"seeds": [row]}
    earlier["recipe"] |= {"teacher": "a-former-name", "weight_drop": 0.006}  # as an earlier version stored it
    for changes, seeds in (
        ({"teachers": teachers}, [0, 1, 2]),
        ({"teachers": ["ab" * 32]}, [0, 1]),
        ({"data_sha256": "ab" * 32}, [0, 1, 2]),
        ({"data_sha256": "ef" * 32}, [0, 1]),
    ):
        evidence.write_text(json.dumps(earlier | changes))
        write_evidence(tmp_path / "seed0", evidence.parent, report)
        assert [row["seed"] for row in json.loads(evidence.read_text())["seeds"]] == seeds
