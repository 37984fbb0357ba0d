"""The proof that an exported model answers like the network it came from, and the limits it must keep."""

import math
from typing import Any

import numpy as np

from fmnist_export.settings import Limits
from fmnist_runtime.classifier import Classifier
from fmnist_train.evaluation.metrics import wilson_interval

__all__ = ["accuracy", "compare", "compare_answers", "judge", "run_all", "share"]

_Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


def run_all(classifier: Classifier, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Logits of uint8 ``[N, 28, 28]`` images through the runtime, float32 ``[N, classes]``."""
    return np.concatenate([classifier.logits(images[i : i + batch, None]) for i in range(0, len(images), batch)])


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What ``share`` says of the right answers."""
    return share(int((logits.argmax(axis=1) == labels).sum()), len(labels))


def share(correct: int, images: int) -> dict[str, Any]:
    """``correct``, ``images``, ``accuracy`` and its 95% ``interval``."""
    interval = list(wilson_interval(correct, images))
    return {"correct": correct, "images": images, "accuracy": correct / images, "interval": interval}


def compare(reference: np.ndarray, other: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How another implementation's logits differ from the reference's.

    Returns:
        What ``compare_answers`` says, ``max_logit_difference``, and ``max_relative_difference`` (to the larger of 1 and
        the reference logit).
    """
    difference = np.abs(reference.astype(np.float64) - other)
    return {
        **compare_answers(reference.argmax(axis=1), other.argmax(axis=1), labels),
        "max_logit_difference": float(difference.max()),
        "max_relative_difference": float((difference / np.maximum(1, np.abs(reference))).max()),
    }


def compare_answers(reference: np.ndarray, other: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How the answers of two models to the same images differ.

    Args:
        reference: class ids of the reference, int ``[N]``.
        other: class ids of the other model, likewise.
        labels: correct class ids, likewise.

    Returns:
        ``agreement`` (share of equal answers), ``drop`` (percentage points of accuracy) with its 95% ``drop_interval``,
        ``only_reference_right``, ``only_other_right``, ``mcnemar_p`` (exact two-sided, McNemar 1947), ``worst_class``
        (id of the class that loses most, of those whose loss is clear of chance where there are any),
        ``worst_class_drop`` and ``worst_class_interval`` (points).
    """
    right, other_right = reference == labels, other == labels
    lost, won = right & ~other_right, ~right & other_right
    by_class = {int(c): _drop(lost[labels == c], won[labels == c]) for c in np.unique(labels)}
    worst = max(by_class, key=lambda c: (by_class[c][1][0] > 0, by_class[c][0]))
    drop, interval = _drop(lost, won)
    return {
        "agreement": float((reference == other).mean()),
        "drop": drop,
        "drop_interval": interval,
        "only_reference_right": int(lost.sum()),
        "only_other_right": int(won.sum()),
        "mcnemar_p": _exact_mcnemar(int(lost.sum()), int(won.sum())),
        "worst_class": worst,
        "worst_class_drop": by_class[worst][0],
        "worst_class_interval": by_class[worst][1],
    }


def judge(
    comparisons: dict[str, dict[str, Any]],
    limits: Limits,
    latency: dict[str, Any] | None = None,
    labels: list[str] | None = None,
) -> list[str]:
    """The reasons why the models do not pass, one line each; empty where they do. Not-a-number never passes.

    Args:
        comparisons: what ``compare`` said, by precision; ``float32`` is judged as an exact copy, ``float16`` as one with
            fewer digits, others as smaller ones.
        limits: what is demanded.
        latency: what ``compare_latency`` measured of int8 and float.
        labels: class names for the messages.
    """
    faults = []
    exact = comparisons["float32"]
    if exact["agreement"] != 1.0:
        faults.append(f"float ONNX answers differently from PyTorch on {1 - exact['agreement']:.2%} of the images")
    if not exact["max_relative_difference"] <= limits.max_logit_difference:
        faults.append(
            f"float ONNX logits differ from PyTorch's by {exact['max_relative_difference']:.2g}, "
            f"allowed {limits.max_logit_difference:g}"
        )
    if "float16" in comparisons:
        faults += _half(comparisons["float16"], limits)
    for precision in comparisons.keys() - {"float32", "float16"}:
        faults += [f"{precision} {fault}" for fault in _losses(comparisons[precision], limits, labels)]
    if latency and limits.max_latency_ratio is not None and not latency["ratio"] < limits.max_latency_ratio:
        faults.append(
            f"int8 takes {latency['int8']:.0f} µs and float {latency['float32']:.0f} µs on this machine, a ratio of "
            f"{latency['ratio']:.2f}, demanded under {limits.max_latency_ratio:g}; small networks pass with "
            "--max-latency-ratio 0 (not measured) or a larger limit; fmnist-export inspect lists what runs as integers"
        )
    return faults


def _half(found: dict[str, Any], limits: Limits) -> list[str]:
    """Why a float16 model is further from PyTorch than its digits explain."""
    faults = []
    if not found["agreement"] >= limits.min_half_agreement:
        faults.append(
            f"float16 answers as PyTorch on {found['agreement']:.2%} of the images, demanded {limits.min_half_agreement:.2%}"
        )
    if not found["max_relative_difference"] <= limits.max_half_difference:
        faults.append(
            f"float16 logits differ from PyTorch's by {found['max_relative_difference']:.2g}, "
            f"allowed {limits.max_half_difference:g}"
        )
    return faults


def _losses(found: dict[str, Any], limits: Limits, labels: list[str] | None) -> list[str]:
    """Why a smaller model loses too much."""
    faults = []
    if not found["drop"] <= limits.max_drop:
        low, high = found["drop_interval"]
        faults.append(
            f"loses {found['drop']:.2f} points of accuracy (95% interval {low:.2f} to {high:.2f}), "
            f"allowed {limits.max_drop:g}"
        )
    # On a small test set one image of a class is a whole point, so the loss must also be clear of chance.
    if not found["worst_class_drop"] <= limits.max_class_drop and found["worst_class_interval"][0] > 0:
        name = labels[found["worst_class"]] if labels else f"class {found['worst_class']}"
        faults.append(f"loses {found['worst_class_drop']:.1f} points on {name}, allowed {limits.max_class_drop:g}")
    if not found["agreement"] >= limits.min_agreement:
        faults.append(
            f"answers as PyTorch on {found['agreement']:.2%} of the images, demanded {limits.min_agreement:.2%}"
        )
    return faults


def _drop(lost: np.ndarray, won: np.ndarray) -> tuple[float, list[float]]:
    """Points of accuracy lost on paired answers, and the 95% interval (adjusted Wald; Bonett and Price 2012)."""
    images = len(lost)
    a, b, n = (lost.sum() + 1) / (images + 2), (won.sum() + 1) / (images + 2), images + 2
    half = _Z95 * math.sqrt((a + b - (a - b) ** 2) / n)
    points = 100 * (float(lost.sum()) - float(won.sum())) / images
    return points, [100 * float(a - b - half), 100 * float(a - b + half)]


def _exact_mcnemar(lost: int, won: int) -> float:
    """Two-sided binomial test that either change is as likely."""
    count = lost + won
    tail = sum(math.comb(count, k) for k in range(min(lost, won) + 1)) / 2**count if count else 1.0
    return min(1.0, 2 * tail)
