"""Figures of the evaluation."""

import numpy as np
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import Evaluator, accuracy, compare_classes
from fmnist_export.variants import Variant
from fmnist_train.data.sources import find_dataset


def test_the_interval_of_a_drop_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    labels, covered = np.zeros(500, int), 0
    for _ in range(300):
        shared = rng.random(500)  # right by one model, by both, by the other: a true drop of 1 point
        reference, other = np.where(shared < 0.93, 0, 1), np.where((shared > 0.03) & (shared < 0.95), 0, 1)
        low, high = compare_classes(reference, other, labels)["drop_interval"]
        covered += low <= 1 <= high
    assert 0.92 < covered / 300 < 0.98
    low, high = compare_classes(labels, labels, labels)["drop_interval"]
    assert low < 0 < high  # no change in 500 images is no proof of none


def test_each_variant_is_run_once_and_compared_with_pytorch(random_model: nn.Module) -> None:
    images = find_dataset("sample").load("test").take(np.arange(100))
    evaluator = Evaluator(random_model, images, list("abcdefghij"), max_latency_ratio=0)
    variant = Variant(to_onnx(random_model))
    evaluation = evaluator.evaluate({"float32": variant})
    assert set(evaluation.logits) == set(evaluation.accuracy) == {"pytorch", "float32"}
    assert evaluation.comparisons["float32"]["agreement"] == 1 and evaluation.latency is None
    assert sum(evaluation.operators["float32"].values()) > 7 and "Softmax" in evaluation.operators["float32"]
    again = evaluator.evaluate({"float32": variant})
    assert again.logits["float32"] is evaluation.logits["float32"]
    assert accuracy(evaluation.logits["float32"], images.labels) == evaluation.accuracy["float32"]
