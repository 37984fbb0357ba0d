"""The proof that an exported model answers like the network it came from, and the limits it must keep."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmnist_runtime.classifier import Classifier
from fmnist_train.metrics import wilson_interval

__all__ = ["Limits", "compare", "judge", "run_all"]


@dataclass(frozen=True)
class Limits:
    """What the gate demands."""

    max_logit_difference: float = 1e-4
    """Of float ONNX to PyTorch, relative to the larger of 1 and the logit."""
    max_drop: float = 0.2
    """Percentage points of test accuracy that int8 may lose to PyTorch."""


def run_all(classifier: Classifier, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Logits of uint8 ``[N, 28, 28]`` images through the runtime, float32 ``[N, classes]``."""
    return np.concatenate([classifier.logits(images[i : i + batch, None]) for i in range(0, len(images), batch)])


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """``correct``, ``images``, ``accuracy`` and its 95% ``interval``."""
    correct = int((logits.argmax(axis=1) == labels).sum())
    return {
        "correct": correct,
        "images": len(labels),
        "accuracy": correct / len(labels),
        "interval": list(wilson_interval(correct, len(labels))),
    }


def compare(reference: np.ndarray, other: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How another implementation's logits differ from the reference's.

    Returns:
        ``agreement`` (share of equal answers), ``max_logit_difference``, ``max_relative_difference`` (to the larger of 1
        and the reference logit), ``drop`` (percentage points), ``only_reference_right``, ``only_other_right``, ``mcnemar_p``
        (exact two-sided, McNemar 1947), ``worst_class_drop`` (points of the class that loses most).
    """
    ours, theirs = reference.argmax(axis=1), other.argmax(axis=1)
    right, other_right = ours == labels, theirs == labels
    lost, won = int((right & ~other_right).sum()), int((~right & other_right).sum())
    difference = np.abs(reference.astype(np.float64) - other)
    drops = [float((right[labels == c].mean() - other_right[labels == c].mean()) * 100) for c in np.unique(labels)]
    return {
        "agreement": float((ours == theirs).mean()),
        "max_logit_difference": float(difference.max()),
        "max_relative_difference": float((difference / np.maximum(1, np.abs(reference))).max()),
        "drop": float((right.mean() - other_right.mean()) * 100),
        "only_reference_right": lost,
        "only_other_right": won,
        "mcnemar_p": _exact_mcnemar(lost, won),
        "worst_class_drop": max(drops),
    }


def judge(comparisons: dict[str, dict[str, Any]], limits: Limits) -> list[str]:
    """The reasons why the models do not pass, one line each; empty where they do. Not-a-number never passes."""
    faults = []
    exact = comparisons["float32"]
    if exact["agreement"] != 1.0:
        faults.append(f"float ONNX answers differently from PyTorch on {1 - exact['agreement']:.2%} of the images")
    if not exact["max_relative_difference"] <= limits.max_logit_difference:
        faults.append(
            f"float ONNX logits differ from PyTorch's by {exact['max_relative_difference']:.2g}, "
            f"allowed {limits.max_logit_difference:g}"
        )
    if "int8" in comparisons and not comparisons["int8"]["drop"] <= limits.max_drop:
        faults.append(f"int8 loses {comparisons['int8']['drop']:.2f} points of accuracy, allowed {limits.max_drop:g}")
    return faults


def _exact_mcnemar(lost: int, won: int) -> float:
    """Two-sided binomial test that either change is as likely."""
    count = lost + won
    tail = sum(math.comb(count, k) for k in range(min(lost, won) + 1)) / 2**count if count else 1.0
    return min(1.0, 2 * tail)
