"""Evaluation of exported variants against the PyTorch reference: accuracy, agreement and latency."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from fmnist_export.graph import optimized
from fmnist_export.inspection import read_executed
from fmnist_export.latency import measure_latency
from fmnist_export.variants import Variant
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_train.data.sources import Split
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import wilson_interval

__all__ = ["Evaluation", "Evaluator", "accuracy", "all_logits", "compare_classes", "compare_logits", "share_correct"]

_Z95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of variants on one set of images, by precision; ``logits`` and ``accuracy`` also contain ``pytorch``."""

    logits: dict[str, np.ndarray]
    """float32 ``[N, classes]``."""
    accuracy: dict[str, dict[str, Any]]
    """Results of ``accuracy``."""
    comparisons: dict[str, dict[str, Any]]
    """Results of ``compare_logits`` with PyTorch."""
    operators: dict[str, dict[str, int]]
    """Number of nodes that onnxruntime executes here, by operator."""
    latency: dict[str, Any] | None
    """Result of ``measure_latency``; None where it was not measured."""


@dataclass(frozen=True)
class _Loaded:
    """A variant that was loaded into onnxruntime."""

    classifier: Classifier
    """Classifier of the variant."""
    logits: np.ndarray
    """Logits of all images, float32 ``[N, classes]``."""
    operators: dict[str, int]
    """Number of executed nodes by operator."""


class Evaluator:
    """Evaluates variants of one network on one set of images; each variant is loaded and run once."""

    def __init__(self, network: nn.Module, split: Split, labels: Sequence[str], max_latency_ratio: float) -> None:
        """Computes the reference logits.

        Args:
            network: Reference network, which takes raw pixels.
            split: Images with their labels.
            labels: Class names.
            max_latency_ratio: Ratio of int8 to float latency below which measuring stops; 0: do not measure.
        """
        self.split = split
        self._labels, self._max_latency_ratio = tuple(labels), max_latency_ratio
        self._reference = predict_logits(network, split.images)
        self._loaded: dict[Variant, _Loaded] = {}

    def evaluate(self, variants: Mapping[str, Variant]) -> Evaluation:
        """Compares variants, by precision, with the reference."""
        loaded = {precision: self._load(variant) for precision, variant in variants.items()}
        logits = {"pytorch": self._reference} | {precision: each.logits for precision, each in loaded.items()}
        labels = self.split.labels
        latency = None
        if "int8" in loaded and self._max_latency_ratio:
            pair = self.classifiers(variants)
            latency = measure_latency(*pair, self.split.images[0], self._max_latency_ratio)
        return Evaluation(
            logits=logits,
            accuracy={name: accuracy(values, labels) for name, values in logits.items()},
            comparisons={p: compare_logits(self._reference, each.logits, labels) for p, each in loaded.items()},
            operators={precision: each.operators for precision, each in loaded.items()},
            latency=latency,
        )

    def classifiers(self, variants: Mapping[str, Variant]) -> tuple[Classifier, Classifier]:
        """Returns the float32 and the int8 variant as the runtime runs them."""
        return self._load(variants["float32"]).classifier, self._load(variants["int8"]).classifier

    def _load(self, variant: Variant) -> _Loaded:
        if variant not in self._loaded:
            session, graph = optimized(variant.model.SerializeToString(), threads=1)
            operators = dict(Counter(node.operator for node in read_executed(graph)))
            classifier = Classifier(
                session, Metadata(self._labels, precision="", temperature=1.0, reject=None, document={})
            )
            self._loaded[variant] = _Loaded(classifier, all_logits(classifier, self.split.images), operators)
        return self._loaded[variant]


def all_logits(classifier: Classifier, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Returns the logits of uint8 ``[N, 28, 28]`` images, float32 ``[N, classes]``."""
    return np.concatenate([classifier.logits(images[i : i + batch, None]) for i in range(0, len(images), batch)])


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns the share of images, as ``share_correct``, whose largest logit is that of their class."""
    return share_correct(int((logits.argmax(axis=1) == labels).sum()), len(labels))


def share_correct(correct: int, images: int) -> dict[str, Any]:
    """Returns ``correct``, ``images``, ``accuracy`` and its 95% ``interval``."""
    interval = list(wilson_interval(correct, images))
    return {"correct": correct, "images": images, "accuracy": correct / images, "interval": interval}


def compare_logits(reference: np.ndarray, other: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compares another implementation's logits with the reference's.

    Args:
        reference: ``[N, classes]``.
        other: ``[N, classes]``.
        labels: Class ids, int ``[N]``.

    Returns:
        The figures of ``compare_classes``, ``max_logit_difference``, and ``max_relative_difference`` (relative to the
        larger of 1 and the reference logit).
    """
    difference = np.abs(reference.astype(np.float64) - other)
    return {
        **compare_classes(reference.argmax(axis=1), other.argmax(axis=1), labels),
        "max_logit_difference": float(difference.max()),
        "max_relative_difference": float((difference / np.maximum(1, np.abs(reference))).max()),
    }


def compare_classes(reference: np.ndarray, other: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compares the classes that two models give the same images.

    Args:
        reference: Class ids of the reference, int ``[N]``.
        other: Class ids of the other model, int ``[N]``.
        labels: True class ids, int ``[N]``.

    Returns:
        ``agreement`` (share of equal classes), ``drop`` (percentage points of accuracy) with its 95% ``drop_interval``,
        ``only_reference_right``, ``only_other_right``, ``mcnemar_p`` (exact, two-sided; McNemar 1947), ``worst_class``
        (id of the class with the largest drop, among the significant ones where there are any), ``worst_class_drop`` and
        ``worst_class_interval`` (points).
    """
    reference_correct, other_correct = reference == labels, other == labels
    lost, won = reference_correct & ~other_correct, ~reference_correct & other_correct
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


def _drop(lost: np.ndarray, won: np.ndarray) -> tuple[float, list[float]]:
    """Returns the drop of accuracy on the same images, and its 95% interval, both in percentage points.

    The interval is the adjusted Wald interval of Bonett and Price 2012.

    Args:
        lost: Images that only the reference classifies correctly, bool ``[N]``.
        won: Images that only the other model classifies correctly, bool ``[N]``.
    """
    images = len(lost)
    a, b, n = (lost.sum() + 1) / (images + 2), (won.sum() + 1) / (images + 2), images + 2
    half = _Z95 * math.sqrt((a + b - (a - b) ** 2) / n)
    points = 100 * (float(lost.sum()) - float(won.sum())) / images
    return points, [100 * float(a - b - half), 100 * float(a - b + half)]


def _exact_mcnemar(lost: int, won: int) -> float:
    """Returns the p-value of the two-sided binomial test of the hypothesis that both changes are equally likely."""
    count = lost + won
    tail = sum(math.comb(count, k) for k in range(min(lost, won) + 1)) / 2**count if count else 1.0
    return min(1.0, 2 * tail)
