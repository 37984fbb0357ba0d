"""Figures of merit of a classifier, computed from NumPy arrays as JSON-ready values."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fmnist_runtime.errors import ModelError

__all__ = [
    "calibration_error",
    "classification_metrics",
    "expected_calibration_error",
    "reliability_bins",
    "softmax",
    "wilson_interval",
]

ECE_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
_Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Computes the probabilities ``softmax(logits / temperature)``, float64 ``[N, classes]``.

    Raises:
        ModelError: A logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ModelError(
            "the model computes logits that are infinite or no numbers, as after a training that diverged; "
            "train with a lower --learning-rate"
        )
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def wilson_interval(correct: int, images: int) -> tuple[float, float]:
    """Computes the 95% confidence interval of a proportion (Wilson 1927, JASA 22:209-212), inside 0..1."""
    share, spread = correct / images, _Z95**2 / images
    center = share + spread / 2
    half = _Z95 * sqrt(share * (1 - share) / images + spread / (4 * images))
    low, high = (center - half) / (1 + spread), (center + half) / (1 + spread)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding excludes some shares of 0 and 1


def reliability_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups predictions by their confidence, in bins of equal width.

    Args:
        probabilities: ``[N, classes]``; the largest of a row is the confidence.
        labels: int ``[N]``.
        bins: Number of bins between 0 and 1.

    Returns:
        For each bin: the number of predictions (int), their mean confidence, and their accuracy (float; NaN for an empty bin).
    """
    return _bin_means(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def _bin_means(confidence: np.ndarray, correct: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(number, minlength=bins)
    divisor = np.where(counts, counts, np.nan)
    return (
        counts,
        np.bincount(number, confidence, minlength=bins) / divisor,
        np.bincount(number, correct, minlength=bins) / divisor,
    )


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Computes the expected calibration error (Guo et al. 2017, arXiv:1706.04599).

    It is the mean, over the predictions, of the difference between confidence and accuracy in their bin.

    Args:
        probabilities: Float ``[N, classes]``.
        labels: Int ``[N]``.
        bins: Number of bins between 0 and 1.
    """
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = ECE_BINS) -> float:
    """Computes the expected calibration error for images of which several classes may be correct.

    Args:
        confidence: Probability of the most probable class, float ``[N]``, 0..1.
        correct: Whether that class is correct, bool ``[N]``.
        bins: Number of bins between 0 and 1.
    """
    counts, mean_confidence, accuracy = _bin_means(confidence, correct, bins)
    filled = counts > 0
    return float(np.average(np.abs(mean_confidence - accuracy)[filled], weights=counts[filled]))


def classification_metrics(
    logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str], temperature: float = 1.0
) -> dict[str, Any]:
    """Computes figures of merit from logits and true labels.

    Args:
        logits: float ``[N, classes]``.
        labels: int ``[N]``, class ids.
        class_names: Name of each class id.
        temperature: Divisor of the logits for the calibration figures; the accuracy does not depend on it.

    Returns:
        ``images``, ``correct``, ``accuracy``, ``accuracy_interval`` (95%), ``loss`` (cross-entropy of the
        undivided logits), ``temperature``, ``nll`` and ``ece`` (at that temperature), ``per_class`` (``label``, ``precision``,
        ``recall``, ``f1``, ``support``), ``macro`` (means over the classes), ``confusion_matrix`` (rows are true classes,
        columns predicted ones), ``most_confused`` (``label``, ``predicted``, ``count``, ``share`` of that label's images).

    Raises:
        ModelError: A logit is not finite.
    """
    ids = list(range(len(class_names)))
    predicted = np.asarray(logits).argmax(axis=1)
    correct = int((predicted == labels).sum())
    probabilities = softmax(logits, temperature)
    matrix = confusion_matrix(labels, predicted, labels=ids)
    scores = precision_recall_fscore_support(labels, predicted, labels=ids, zero_division=0)
    named = zip(class_names, *(score.tolist() for score in scores), strict=True)
    return {
        "images": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "accuracy_interval": list(wilson_interval(correct, len(labels))),
        "loss": _cross_entropy(softmax(logits), labels),
        "temperature": float(temperature),
        "nll": _cross_entropy(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "per_class": [dict(zip(("label", "precision", "recall", "f1", "support"), row, strict=True)) for row in named],
        "macro": dict(zip(("precision", "recall", "f1"), (float(score.mean()) for score in scores[:3]), strict=True)),
        "confusion_matrix": matrix.tolist(),
        "most_confused": _most_confused(matrix, class_names),
    }


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def _most_confused(matrix: np.ndarray, class_names: Sequence[str], pairs: int = 10) -> list[dict[str, Any]]:
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:pairs]
    found = [(int(i), int(j), int(mistakes[i, j])) for i, j in zip(*np.unravel_index(order, matrix.shape), strict=True)]
    return [
        {"label": class_names[i], "predicted": class_names[j], "count": count, "share": count / int(matrix[i].sum())}
        for i, j, count in found
        if count
    ]
