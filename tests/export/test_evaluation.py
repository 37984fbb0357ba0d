"""Figures of the evaluation."""

import numpy as np

from fmnist_export.evaluation import compare_classes


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
