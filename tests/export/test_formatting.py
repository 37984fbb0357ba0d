"""Reports on foreign files: no control characters of their labels, and malformed metadata are one error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist_export.formatting import format_claims, format_inspection
from fmnist_export.inspection import inspect_model
from fmnist_export.verify import Claim
from fmnist_runtime.errors import ModelError

HOSTILE = "a\nholds  \x1b[31mred"
FOUND: dict[str, Any] = {
    "file": "x.onnx",
    "bytes": 10,
    "metadata": {"schema": 1, "labels": [HOSTILE, "b"], "note": HOSTILE},
    "opset": {"ai.onnx": 18},
    "macs": 5,
    "layers": [],
    "executed": [],
}


def test_labels_stay_on_their_line() -> None:
    for text in (format_inspection(FOUND), format_claims([Claim("labels", [HOSTILE], [HOSTILE, "b"], False)])):
        assert all(line.isprintable() for line in text.split("\n")) and "\\x1b[31mred" in text


def test_the_multiplications_are_those_of_the_file() -> None:
    for precision, expected in (
        ("float32", "5 MACs an image (of this float32 file)"),
        ("int8", "5 MACs an image (of this int8 file, with the zeros that it adds to the first layer)"),
    ):
        assert expected in format_inspection(FOUND | {"metadata": FOUND["metadata"] | {"precision": precision}})


@pytest.mark.parametrize(
    "fields",
    [
        {"model": 7},
        {"model": {"parameters": "many"}},
        {"training": "none"},
        {"accuracy": {"int8": 5}},
        {"accuracy": {"int8": {"accuracy": "high", "interval": [0, 1], "images": 1}}},
        {"parity": []},
        {"labels": [1, 2]},
    ],
)
def test_malformed_metadata_are_one_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"^x\.onnx: the metadata are malformed") as refusal:
        format_inspection(FOUND | {"metadata": FOUND["metadata"] | fields})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("macs", ["many", None, []])
def test_malformed_macs_of_an_ort_file(macs: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fmnist_export.inspection as module

    monkeypatch.setattr(module, "is_ort", lambda data: True)
    real = module.Classifier.load
    classifier = real("nano")
    document = dict(classifier.metadata.document) | {"model": {"macs": macs}}
    classifier.metadata = classifier.metadata._replace(document=document)
    load: Callable[..., Any] = lambda model: classifier  # noqa: E731
    monkeypatch.setattr(module.Classifier, "load", load)
    with pytest.raises(ModelError, match="metadata are malformed"):
        inspect_model("nano")
