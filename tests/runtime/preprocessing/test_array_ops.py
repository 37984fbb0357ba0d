"""Array operations against plain implementations of the same."""

import numpy as np
import pytest

from fmnist_runtime.preprocessing.array_ops import (
    Components,
    binomial_sum,
    luma,
    neighbor_count,
    percentile,
    positive_at_double,
)


def flooded(mask: np.ndarray) -> np.ndarray:
    """A label for each 4-connected part: the flat index of its last pixel, pixel by pixel; -1 outside."""
    label = np.where(mask, np.arange(mask.size).reshape(mask.shape), -1)
    while True:
        before = label.copy()
        for axis in (0, 1):
            for step in (1, -1):
                shifted = np.full_like(label, -1)
                into = [slice(None)] * 2
                into[axis] = slice(step, None) if step > 0 else slice(None, step)
                source = [slice(None)] * 2
                source[axis] = slice(None, -step) if step > 0 else slice(-step, None)
                shifted[tuple(into)] = label[tuple(source)]
                label = np.where(mask, np.maximum(label, shifted), -1)
        if np.array_equal(before, label):
            return label


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95, 1.0])
def test_components_are_those_of_a_flood_fill(share: float) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (17, 23)):
        mask, other = rng.random(shape) < share, rng.random(shape) < 0.5
        expected, components = flooded(mask), Components(mask)
        sizes, counts = components.sizes(), components.count(other)
        found = [components.mask(np.arange(len(sizes)) == part) for part in np.flatnonzero(sizes)]
        wanted = [expected == label for label in np.unique(expected[expected >= 0])]
        assert len(found) == len(wanted)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert sizes[sizes > 0].tolist() == [part.sum() for part in wanted]
        assert counts[sizes > 0].tolist() == [(part & other).sum() for part in wanted]


def test_binomial_sums_have_the_weights_1_2_1_along_each_axis() -> None:
    values = np.random.default_rng(0).integers(0, 9, (7, 8, 9))
    expected = values
    for axis in range(3):
        first, center, last = (np.take(expected, range(i, expected.shape[axis] - 2 + i), axis) for i in range(3))
        expected = first + 2 * center + last
    sums = binomial_sum(values.ravel(), (72, 9, 1))
    padded = np.append(sums, [0] * (values.size - len(sums))).reshape(values.shape)
    assert np.array_equal(padded[:5, :6, :7], expected)


def test_neighbors_are_counted_with_the_border_repeated() -> None:
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1, "edge"), (3, 3)).sum(axis=(2, 3))
    assert np.array_equal(neighbor_count(mask), windows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (7, 9), (8, 10)])
def test_the_doubled_mask_is_that_of_linear_interpolation(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(-4, 5, [(side + 1) // 2 for side in shape]).astype(float)
    rows, columns = (np.minimum(np.arange(side) / 2, n - 1) for side, n in zip(shape, values.shape, strict=True))
    down = np.stack([np.interp(rows, np.arange(len(column)), column) for column in values.T], axis=1)
    expected = np.stack([np.interp(columns, np.arange(len(row)), row) for row in down])
    assert np.array_equal(positive_at_double(values, shape), expected > 0)


@pytest.mark.parametrize("share", [0, 3, 33.3, 50, 97, 100])
def test_percentile_is_numpys(share: float) -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 10, 999):
        values = rng.random(count)
        assert percentile(values, share) == np.percentile(values, share)


def test_luma_is_in_whole_thousandths() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(luma(rgb), rgb.astype(np.int64) @ [299, 587, 114])
