"""Answers as JSON."""

import json
from pathlib import Path

import pytest

from fmnist_runtime import Answer, Classifier, ImageError

EXAMPLES = Path(__file__).parents[2] / "examples"


PHOTO = EXAMPLES / "shirt.jpg"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("nano")


def test_answers_as_json(classifier: Classifier) -> None:
    prediction = classifier(PHOTO, top_k=2, reject=False)
    found = json.loads(json.dumps(prediction.to_dict()))
    assert list(found) == ["label", "class_id", "probability", "top", "rejected"]
    assert found["label"] == prediction.label and found["top"][1]["class_id"] == prediction.top[1].class_id
    rejected = prediction._replace(label=None, class_id=None, rejected=True, reason="unlike")
    assert rejected.to_dict()["reason"] == "unlike"
    assert Answer.of("x.jpg", prediction).to_dict() == {"path": "x.jpg", **prediction.to_dict()}
    failed = Answer.of("x.jpg", ImageError("damaged")).to_dict()
    assert failed["error"] == "damaged" and failed["label"] is None and failed["top"] == []
