"""What ships: the files agree with each other and with their metadata."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from fmnist_export.settings import QuantizationSettings
from fmnist_runtime import Classifier
from fmnist_runtime.model_file.store import embedded_models
from fmnist_train.data.sources import DataError, find_dataset

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts"
EMBEDDED = ("improved", "improved-lite", "micro", "nano")


def test_the_embedded_models_are_the_shipped_int8_files() -> None:
    assert tuple(embedded_models()) == EMBEDDED
    for name, path in embedded_models().items():
        assert path.read_bytes() == (ARTIFACTS / name / "model.int8.onnx").read_bytes()


def test_models_are_committed_once() -> None:
    assert not list((ROOT / "runtime").rglob("*.onnx"))


@pytest.mark.parametrize("name", [*EMBEDDED, "best"])
def test_the_command_on_the_card_is_the_one_that_made_the_files(name: str) -> None:
    made = Classifier.load(ARTIFACTS / name / "model.int8.onnx").metadata.document
    default, taken = QuantizationSettings(), made["calibration"]
    assert (taken["method"], taken["images"]) == (default.calibration, default.images)
    command = f"fmnist-train --recipe {made['training']['recipe']['name']} --seed {made['training']['seed']}"
    assert command in (ARTIFACTS / name / "README.md").read_text()


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_figures_on_photos_are_those_of_the_epoch_that_ships(name: str) -> None:
    """The export fits temperature and reject threshold to the answers that are stored with these figures."""
    stored = json.loads((ARTIFACTS / name / "best.json").read_text())
    with (ARTIFACTS / name / "history.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if int(row["epoch"]) == stored["epoch"])
    for key, column in (("accuracy", "photo_accuracy"), ("class_mean", "photo_class_mean")):
        assert stored["photos"][key] == pytest.approx(float(row[column]), abs=1e-9)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_card_has_the_license_of_the_photos(name: str) -> None:
    card = (ARTIFACTS / name / "README.md").read_text()
    assert "Clothing dataset" in card and "The photos are CC0." in card


def test_what_the_documents_say_was_measured_on_what_ships() -> None:
    results, improved = ROOT / "benchmarks" / "results", ARTIFACTS / "improved"
    for name in ("portability", "page"):
        measured = json.loads((results / f"{name}.json").read_text())["model_sha256"]
        assert measured == hashlib.sha256((improved / "model.int8.onnx").read_bytes()).hexdigest(), name
    checkpoint = json.loads((results / "rounding.json").read_text())["checkpoint_sha256"]
    assert checkpoint == hashlib.sha256((improved / "best.safetensors").read_bytes()).hexdigest()


@pytest.mark.full_data
@pytest.mark.parametrize("name", [*EMBEDDED, "best"])
def test_the_files_have_the_accuracy_that_they_state(name: str) -> None:
    shipped = ARTIFACTS / name
    try:
        test = find_dataset().load("test")
    except DataError as error:
        pytest.skip(f"the full data set is not here: {error}")
    stated = json.loads((shipped / "parity.json").read_text())["accuracy"]
    for file, precision in (("model.onnx", "float32"), ("model.int8.onnx", "int8")):
        classifier = Classifier.load(shipped / file)
        right = sum(
            int((classifier.logits(test.images[i : i + 500, None]).argmax(1) == test.labels[i : i + 500]).sum())
            for i in range(0, len(test), 500)
        )
        assert right == stated[precision]["correct"] == classifier.metadata.document["accuracy"][precision]["correct"]
    metrics = json.loads((shipped / "metrics.json").read_text())
    assert metrics["test"]["correct"] == stated["pytorch"]["correct"]
    assert {form: about["correct"] for form, about in metrics["exported"].items()} == {
        form: stated[form]["correct"] for form in ("float32", "int8")
    }
