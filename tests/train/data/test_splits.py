"""Dividing images so that every class keeps its share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_runtime.errors import ConfigError, DataError
from fmnist_train.data.splits import Split, split_validation, stratified_draw


def numbered(labels) -> Split:
    """A split whose images differ in their first two pixels."""
    labels = np.asarray(labels, np.int64)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    return Split(images, labels)


def numbers(split: Split) -> list[int]:
    return (split.images[:, 0, 0].astype(int) * 256 + split.images[:, 0, 1]).tolist()


@pytest.mark.parametrize(("validation", "count"), [(0.1, 100), (0.25, 250), (100, 100), (7.0, 7), (0, 0)])
def test_parts_are_disjoint_and_together_all(validation, count):
    split = numbered(np.arange(1000) % 10)
    train, held_out = split_validation(split, validation, seed=3)
    assert len(held_out) == count
    assert sorted(numbers(train) + numbers(held_out)) == list(range(1000))
    assert numbers(train) == sorted(numbers(train))
    for part in (train, held_out):
        assert np.array_equal(part.labels, split.labels[numbers(part)])


def test_every_class_keeps_its_share():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    _, held_out = split_validation(numbered(labels), 0.1, seed=0)
    assert np.bincount(held_out.labels).tolist() == [50, 30, 20]


def test_seed_decides():
    split = numbered(np.arange(1000) % 10)
    drawn = [numbers(split_validation(split, 0.1, seed)[1]) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_draw_never_changes():
    """Checkpoints and the shipped sample rest on it: these positions were drawn once and must come again."""
    assert stratified_draw(np.arange(100) % 5, 10, seed=0).tolist() == [5, 9, 16, 20, 36, 52, 82, 83, 93, 94]


@pytest.mark.parametrize("validation", [-0.1, -5, 1000, 2000, 0.9999, 0.0001])
def test_impossible_parts_are_refused(validation):
    with pytest.raises(ConfigError, match=r"validation split of .* 1,000 training images"):
        split_validation(numbered(np.arange(1000) % 10), validation, seed=0)


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=80), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_draw_is_stratified_to_within_one_image(labels, share, seed):
    labels = np.array(labels)
    count = round(share * len(labels))
    drawn = stratified_draw(labels, count, seed)
    assert len(set(drawn.tolist())) == count
    wanted = np.bincount(labels) * count / len(labels)
    assert np.all(np.abs(np.bincount(labels[drawn], minlength=len(wanted)) - wanted) <= 1)


def test_arrays_that_do_not_belong_together_are_refused():
    images, labels = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.int64)
    for wrong in ((images.astype(float), labels), (images[:, :, :27], labels), (images, labels[:2])):
        with pytest.raises(DataError):
            Split(*wrong)
    with pytest.raises(DataError):
        Split(images, labels.astype(np.uint8))
