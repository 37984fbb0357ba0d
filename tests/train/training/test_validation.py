"""Figures on validation photos, and the logits that a checkpoint contains."""

import numpy as np
import pytest

from fmnist_train.training.validation import pack_logits, photo_accuracy, unpack_logits


def test_accuracy_of_photos_is_by_photo_and_by_kind() -> None:
    logits = np.eye(10)[[0, 0, 1, 5]]
    answers = np.zeros((4, 10), bool)
    answers[0, 0] = answers[1, 0] = answers[2, [2, 4]] = True
    assert photo_accuracy(logits, answers) == (pytest.approx(2 / 3), 0.5)


def test_packed_answers_come_back() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float16).astype(np.float32)
    answers = logits > 0.5
    found, accepted = unpack_logits(pack_logits(logits, answers))
    assert np.array_equal(found, logits) and np.array_equal(accepted, answers)
