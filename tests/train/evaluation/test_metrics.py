"""Figures of merit, against values worked out by hand and by other libraries; and running a model over images."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import log_loss
from torch import nn

from fmnist_runtime.errors import ModelError
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import (
    classification_metrics,
    expected_calibration_error,
    reliability_bins,
    softmax,
    wilson_interval,
)
from fmnist_train.models import build_model

NAMES = ("a", "b", "c")
# Four images of a, two of b, none of c; one a is taken for b, one for c.
LABELS = np.array([0, 0, 0, 0, 1, 1])
LOGITS = np.log(np.array([[8, 1, 1], [6, 3, 1], [3, 6, 1], [1, 2, 7], [2, 7, 1], [4, 5, 1]]) / 10)


@pytest.fixture(scope="module")
def metrics():
    return classification_metrics(LOGITS, LABELS, NAMES)


def test_accuracy_and_confusion(metrics):
    assert (metrics["images"], metrics["correct"], metrics["accuracy"]) == (6, 4, 4 / 6)
    assert metrics["confusion_matrix"] == [[2, 1, 1], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_logits_of_a_training_that_diverged_are_refused(logit):
    with pytest.raises(ModelError, match="infinite or no numbers"):
        classification_metrics(np.where(LOGITS.max() == LOGITS, logit, LOGITS), LABELS, NAMES)
    with pytest.raises(ModelError, match="infinite or no numbers"):  # and numpy's warnings are errors in tests
        softmax(np.full((2, 3), logit, np.float32))


def test_per_class_scores(metrics):
    rows = {row.pop("label"): row for row in map(dict, metrics["per_class"])}
    assert rows["a"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 4}
    assert rows["b"] == {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2}
    assert rows["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert metrics["macro"]["recall"] == pytest.approx(0.5)


def test_most_confused_pairs_come_worst_first():
    labels = np.array([0, 0, 1, 1, 1, 2])
    predicted = np.array([1, 0, 0, 0, 1, 2])
    pairs = classification_metrics(np.eye(3)[predicted], labels, NAMES)["most_confused"]
    assert pairs == [
        {"label": "b", "predicted": "a", "count": 2, "share": pytest.approx(2 / 3)},
        {"label": "a", "predicted": "b", "count": 1, "share": 0.5},
    ]


def test_losses_agree_with_torch_and_sklearn(metrics):
    expected = nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()
    assert metrics["loss"] == metrics["nll"] == pytest.approx(expected)
    warm = classification_metrics(LOGITS, LABELS, NAMES, temperature=2.0)
    assert warm["nll"] == pytest.approx(log_loss(LABELS, softmax(LOGITS, 2.0), labels=[0, 1, 2]))
    assert (warm["loss"], warm["accuracy"]) == (metrics["loss"], metrics["accuracy"])


def test_everything_survives_json(metrics):
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_class_of_probability_zero_gives_a_finite_loss():
    assert math.isfinite(classification_metrics(np.array([[0.0, 5000.0, 0.0]]), np.array([0]), NAMES)["loss"])


@pytest.mark.parametrize(("correct", "images"), [(0, 10), (5, 10), (10, 10), (9400, 10_000), (1, 1)])
def test_wilson_interval_agrees_with_scipy(correct, images):
    expected = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "images"), [(0, 3), (10, 10)])
def test_an_interval_contains_its_share(correct, images):
    """Rounding would exclude it, and a plot takes no negative length of an error bar."""
    low, high = wilson_interval(correct, images)
    assert low <= correct / images <= high


def test_softmax_is_stable_and_temperature_softens():
    logits = np.array([[1000.0, 999.0, -1000.0]])
    assert softmax(logits).sum() == pytest.approx(1)
    assert softmax(logits)[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert softmax(logits, 4.0)[0, 0] == pytest.approx(1 / (1 + math.exp(-0.25)))


def test_calibration_error_of_known_cases():
    sure = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(sure, np.zeros(4, int)) == 0
    assert expected_calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0.25)
    mixed = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert expected_calibration_error(mixed, np.array([0, 1, 0, 0])) == pytest.approx((0.4 + 0.4) / 2)


def test_reliability_bins_hold_every_prediction_once():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 1000)
    counts, confidence, accuracy = reliability_bins(probabilities, np.zeros(1000, int), bins=10)
    assert counts.sum() == 1000
    filled = counts > 0
    assert np.all(np.isnan(accuracy[~filled]))
    edges = np.arange(11) / 10
    assert np.all((confidence[filled] >= edges[:-1][filled]) & (confidence[filled] <= edges[1:][filled]))


# -- predict_logits


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (25, 28, 28), np.uint8)


def test_logits_do_not_depend_on_the_batch(images):
    model = build_model("improved")
    logits = predict_logits(model, images)
    assert (logits.shape, logits.dtype) == ((25, 10), np.float32)
    np.testing.assert_allclose(predict_logits(model, images, batch=7), logits, atol=1e-5)


def test_evaluation_mode_inside_and_old_mode_after(images):
    model = build_model("improved")
    for mode in (True, False):
        model.train(mode)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        first, second = predict_logits(model, images), predict_logits(model, images)
        assert np.array_equal(first, second)
        assert model.training is mode
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_read_only_and_strided_images_are_taken(images):
    model = build_model("improved").eval()
    expected = predict_logits(model, images[::2].copy())
    images.flags.writeable = False
    np.testing.assert_allclose(predict_logits(model, images[::2]), expected, atol=1e-6)


def test_float32_even_inside_autocast(images):
    model = build_model("improved").eval()
    plain = predict_logits(model, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(predict_logits(model, images), plain)
