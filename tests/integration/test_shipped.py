"""What ships: the files agree with each other and with what they say."""

import json
from pathlib import Path

import pytest

from fmnist_runtime import Classifier
from fmnist_runtime.store import embedded_models
from fmnist_train.data import DataError, find_dataset

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "artifacts" / "improved"


def test_the_embedded_default_is_the_shipped_int8_file() -> None:
    assert embedded_models()["improved"].read_bytes() == (SHIPPED / "model.int8.onnx").read_bytes()


@pytest.mark.full_data
def test_the_files_have_the_accuracy_that_they_state() -> None:
    try:
        test = find_dataset().load("test")
    except DataError as error:
        pytest.skip(f"the full data set is not here: {error}")
    stated = json.loads((SHIPPED / "parity.json").read_text())["accuracy"]
    for name, precision in (("model.onnx", "float32"), ("model.int8.onnx", "int8")):
        classifier = Classifier.load(SHIPPED / name)
        right = sum(
            int((classifier.logits(test.images[i : i + 500, None]).argmax(1) == test.labels[i : i + 500]).sum())
            for i in range(0, len(test), 500)
        )
        assert right == stated[precision]["correct"] == classifier.metadata.document["accuracy"][precision]["correct"]
    metrics = json.loads((SHIPPED / "metrics.json").read_text())
    assert metrics["test"]["correct"] == stated["pytorch"]["correct"]
    assert {name: about["correct"] for name, about in metrics["exported"].items()} == {
        name: stated[name]["correct"] for name in ("float32", "int8")
    }
