"""The reject option: scores, thresholds, blank images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime import Classifier
from fmnist_runtime.reject import SCORES, RejectRule

Make = Callable[..., Path]


def test_reject_option(make_model: Make) -> None:
    path = make_model(reject={"score": "max_probability", "threshold": 1.01, "acceptance": 0.95})
    image = np.full((28, 28), 9, np.uint8)
    rejected = Classifier.load(path)(image)
    assert rejected.rejected and rejected.label is None and rejected.class_id is None
    assert rejected.top and "threshold" in rejected.reason
    kept = Classifier.load(path)(image, reject=False)
    assert not kept.rejected and kept.label == rejected.top[0].label


def test_a_picture_of_nothing_is_rejected_whatever_the_model_thinks(make_model: Make) -> None:
    nothing = np.zeros((28, 28), np.uint8)
    sure = Classifier.load(make_model(reject={"score": "max_probability", "threshold": 0, "acceptance": 1}))
    assert sure(nothing).rejected and "stands out" in sure(nothing).reason
    assert not sure(nothing, reject=False).rejected and not sure(nothing + 1).rejected
    assert not Classifier.load(make_model())(nothing).rejected  # a model without the option


def test_scores_are_higher_for_what_is_familiar() -> None:
    logits = np.array([[0, 0, 0, 0], [2, 2, 0, 0], [3, 0, 0, 0], [200, 0, 0, 0]], np.float32)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for name, score in SCORES.items():
        values = score(logits, shares)
        assert values.shape == (4,) and np.isfinite(values).all() and values[0] < values[2] < values[3], name
    assert SCORES["certainty"](logits, shares)[[0, 3]] == pytest.approx([0, 1], abs=1e-6)
    halves = np.array([[0.5, 0.5, 0, 0]], np.float32)
    assert SCORES["certainty"](logits[:1], halves) == pytest.approx([0.5])


def test_the_only_class_of_a_model_is_certain(make_model: Make) -> None:
    rule = {"score": "certainty", "threshold": 0.9, "acceptance": 0.95}
    prediction = Classifier.load(make_model(classes=1, labels=["shoe"], reject=rule))(np.full((28, 28), 9, np.uint8))
    assert prediction.label == "shoe" and prediction.probability == 1 and not prediction.rejected


@pytest.mark.parametrize(
    ("score", "threshold", "texts"),
    [(0.5, 0.75, ("0.5", "0.75")), (0.9996, 1.0, ("0.9996", "1")), (0.12345, 0.12346, ("0.12345", "0.12346"))],
)
def test_a_score_just_under_the_threshold_is_written_as_less(score: float, threshold: float, texts: tuple) -> None:
    rule = RejectRule("max_probability", threshold)
    probabilities = np.array([[score, 0]])
    (reason,) = rule.reasons(np.ones((1, 1)), np.zeros((1, 2)), probabilities)
    assert reason is not None and reason.endswith("max probability {} is under the threshold {}".format(*texts))
