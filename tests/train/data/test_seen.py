"""Hashes of seen images, as a checkpoint contains them."""

from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime.errors import CheckpointError
from fmnist_train.data import seen
from fmnist_train.data.seen import describe_seen, hash_images, report_repeated, report_seen, stored_seen
from fmnist_train.data.splits import Split

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("common", [0, 1, 7])
def test_test_images_among_stored_ones_are_counted(common: int, caplog: pytest.LogCaptureFixture) -> None:
    info = describe_seen(hash_images(np.concatenate([IMAGES[: 10 + common], IMAGES[:3]])))
    report_seen(Split(IMAGES[10:], np.zeros(10, np.int64)), stored_seen(info, Path("best")), "things")
    line = f"things: test images that training has seen: {common} of 10; the accuracy is too high"
    assert caplog.messages == ([line] if common else [])


@pytest.mark.parametrize("common", [0, 2])
def test_validation_images_among_those_of_training_are_counted(common: int, caplog: pytest.LogCaptureFixture) -> None:
    train, validation = (
        Split(images, np.zeros(10, np.int64)) for images in (IMAGES[common : 10 + common], IMAGES[10:])
    )
    report_repeated(train, validation, "things")
    line = (
        f"things: validation images that are also training images: {common} of 10; the validation accuracy is too high"
    )
    assert caplog.messages == ([line] if common else [])


def test_only_lists_of_a_sensible_length_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = hash_images(IMAGES)
    assert describe_seen(hashes[:0]) == {} and len(stored_seen({}, Path("best"))) == 0
    monkeypatch.setattr(seen, "_MOST", 20)
    assert stored_seen(describe_seen(np.tile(hashes, 2)), Path("best")).tolist() == sorted(hashes)
    monkeypatch.setattr(seen, "_MOST", 19)
    assert describe_seen(hashes) == {}


@pytest.mark.parametrize("damage", ["AAAA", "?", 5, None, ["AAAAAAAAAAA="]])
def test_a_damaged_list_is_one_line(damage: object) -> None:
    with pytest.raises(CheckpointError, match="best: its description is damaged: 'seen' is no list of hashes"):
        stored_seen({"seen": damage}, Path("best"))
