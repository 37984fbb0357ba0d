"""Figures on validation photos, and the logits that a checkpoint contains."""

from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime.errors import CheckpointError
from fmnist_train.training.validation import pack_logits, photo_accuracy, stored_photos, unpack_logits


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


@pytest.mark.parametrize(
    "damage",
    [
        {"count": "2"}, {"count": 3}, {"count": 0}, {"count": None}, {"logits": 1}, {"logits": "%"}, {"answers": ""},
        {"answers": "AAAA"}, {"logits": pack_logits(np.full((2, 3), np.nan), np.eye(2, 3) > 0)["logits"]},
        {"answers": pack_logits(np.eye(2, 3), np.zeros((2, 3), bool))["answers"]},
        pack_logits(np.eye(2, 4), np.eye(2, 4) > 0),
    ],
)  # fmt: skip
def test_damaged_photos_of_a_description_are_named(damage: dict) -> None:
    whole = {"labels": ["a", "b", "c"], "photos": pack_logits(np.eye(2, 3), np.eye(2, 3) > 0)}
    assert stored_photos(whole, Path("x")) and stored_photos({"labels": []}, Path("x")) is None
    for photos in (whole["photos"] | damage, None, [1]):
        with pytest.raises(CheckpointError, match="best: the photos in its description are damaged"):
            stored_photos(whole | {"photos": photos}, Path("best"))
