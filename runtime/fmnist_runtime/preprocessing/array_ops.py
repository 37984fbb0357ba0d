"""Operations on pixel arrays: CIELAB, local sums, percentiles, doubling of resolution, connected components. numpy only.

All of them lie on the path from photo to answer, so they are written for speed: few passes over contiguous memory. On a
working image of 128 pixels each takes about a tenth of a millisecond or less.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Components",
    "binomial_sum",
    "luma",
    "neighbor_count",
    "percentile",
    "positive_at_double",
    "to_lab",
]

Array: TypeAlias = NDArray[Any]
"""A numpy array; shape and dtype are in the docstring of its function."""


def to_lab(rgb: Array) -> Array:
    """Converts sRGB, uint8 ``[H, W, 3]``, to CIELAB (D65), float32 ``[3, H, W]``.

    Integer arithmetic and tables make the result equal on every machine and in JavaScript. Gray has exactly ``a = b = 0``.
    """
    channels = rgb.transpose(2, 0, 1).reshape(3, -1)
    lab = np.empty(channels.shape, np.float32)
    for begin in range(0, channels.shape[1], 4096):  # pieces that stay in the cache
        piece = np.s_[:, begin : begin + 4096]
        xyz = _CURVE.take((_XYZ @ _LINEAR.take(channels[piece])).astype(np.intp))
        np.matmul(_LAB, xyz, out=lab[piece])
    lab[0] -= 16
    return lab.reshape(3, *rgb.shape[:2])


_SRGB = np.arange(256) / 255
_LINEAR = np.rint(65535 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4))
"""Linear light of each sRGB level, 0..65535 (IEC 61966-2-1)."""
_XYZ = np.array([[14217, 12328, 6223], [6966, 23436, 2366], [581, 3587, 28600]]) / 32768
"""Matrix from linear RGB to X, Y, Z relative to the white point D65; each row sums to 1. Exact in float64 in any order."""
_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32)
"""Matrix from f(X), f(Y), f(Z) to L + 16, a, b. Exact in float32: f has 16 bits, and factors have at most 7."""


def _lab_curve(t: Array) -> Array:
    """Returns CIELAB's f(t), rounded to 1/65536."""
    rounded: Array = np.rint(65536 * np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)) / 65536
    return rounded


_CURVE = np.empty(65536, np.float32)
for _begin in range(0, 65536, 4096):  # in pieces, because a process keeps the memory of its largest temporary
    _CURVE[_begin : _begin + 4096] = _lab_curve(np.arange(_begin, _begin + 4096) / 65535)


def luma(rgb: Array) -> Array:
    """Returns the lightness of BT.601 in thousandths, exact integers: uint8 ``[..., 3]`` to float32 ``[...]``."""
    total: Array = rgb.reshape(-1, 3).astype(np.float32) @ _LUMA
    return total.reshape(rgb.shape[:-1])


_LUMA = np.array([299, 587, 114], np.float32)


def percentile(values: Array, share: float) -> float:
    """Returns one percentile of a flat array, with the same bits as ``numpy.percentile``.

    numpy's function takes more time for checking its arguments than for the values. Its median imports ``numpy.ma``, which
    takes a twentieth of the start-up time of a process.

    Args:
        values: Flat array, at least one value.
        share: Percentile, 0 to 100.
    """
    position = share / 100 * (len(values) - 1)
    below = int(position)
    part = position - below
    parted = values.copy()
    parted.partition(below)  # two indices at once take ten times as long
    low = float(parted[below])
    high = float(np.minimum.reduce(parted[below + 1 :])) if below + 1 < len(values) else low
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def binomial_sum(values: Array, strides: Iterable[int]) -> Array:
    """Sums each value and its two neighbors with the weights 1, 2, 1, along each axis of a flattened array.

    Args:
        values: Flat array.
        strides: Distance in ``values`` between neighbors along each axis.

    Returns:
        Flat array of the sums around the values from ``sum(strides)`` to ``len(values) - sum(strides)``; the weights sum to
        4 for each axis. Sums that reach across an end of an axis have no meaning.
    """
    for stride in strides:
        values = values[:-stride] + values[stride:]
        values = values[:-stride] + values[stride:]
    return values


def neighbor_count(mask: Array) -> Array:
    """Counts the true pixels among the 3×3 around each; the border is repeated. Boolean ``[H, W]`` to uint8 ``[H, W]``."""
    height, width = mask.shape
    row = width + 2
    padded = np.empty((height + 3, row), np.uint8)  # one more row keeps all sums inside the array
    inside = padded[1 : height + 1]
    inside[:, 1:-1] = mask
    inside[:, 0], inside[:, -1] = mask[:, 0], mask[:, -1]
    padded[0], padded[height + 1 :] = inside[0], inside[-1]
    total = padded.reshape(-1)[: (height + 2) * row + 2]
    for stride in (row, 1):
        pairs = total[: -2 * stride] + total[stride:-stride]
        pairs += total[2 * stride :]
        total = pairs
    return total.reshape(height, row)[:, :width]


def positive_at_double(values: Array, shape: tuple[int, int]) -> Array:
    """Doubles the resolution by linear interpolation, and returns a mask of the positive results.

    Args:
        values: Values at every second pixel of every second row, ``[ceil(H / 2), ceil(W / 2)]``. The last row and column
            are repeated.
        shape: ``(H, W)``.

    Returns:
        Boolean ``[H, W]``.
    """
    height, width = values.shape
    padded = np.empty((height + 1, width + 1))
    padded[:-1, :-1] = values
    padded[-1, :-1] = values[-1]
    padded[:, -1] = padded[:, -2]
    down = padded[:-1] + padded[1:]
    mask = np.empty((2 * height, 2 * width), bool)
    np.greater(values, 0, out=mask[::2, ::2])
    np.greater(padded[:-1, :-1] + padded[:-1, 1:], 0, out=mask[::2, 1::2])
    np.greater(down[:, :-1], 0, out=mask[1::2, ::2])
    np.greater(down[:, :-1] + down[:, 1:], 0, out=mask[1::2, 1::2])
    return mask[: shape[0], : shape[1]]


class Components:
    """The 4-connected components of a boolean mask ``[H, W]``.

    Runs of true pixels along the rows are found in one vectorized pass. A union-find (Rosenfeld and Pfaltz 1966) joins runs
    that touch in neighboring rows. The number of a component is the index of its last run.
    """

    def __init__(self, mask: Array) -> None:
        self.shape = mask.shape
        flat = self._with_gaps(mask)
        stride = mask.shape[1] + 1
        (self.edges,) = (flat[1:] != flat[:-1]).nonzero()
        """First and end positions of all runs, alternating, in the flat mask with a gap after each row."""
        self.row, self.begin = np.divmod(self.edges[::2], stride)
        self.end = self.edges[1::2] - self.row * stride
        """Row, first column, and end column (exclusive) of each run."""
        both = flat[:-stride] & flat[stride:]
        (touching,) = (both[1:] > both[:-1]).nonzero()
        self.component = self._join(touching, stride)
        """Number of each run's component."""

    def sizes(self, weight: Array | None = None) -> Array:
        """Returns the number of pixels of each component, or the sum of its runs' weights, by component number.

        Args:
            weight: Weight of each run; None: its number of pixels.
        """
        return np.bincount(self.component, self.end - self.begin if weight is None else weight)

    def count(self, mask: Array) -> Array:
        """Counts, for each component, its pixels that are true in another mask."""
        flat = self._with_gaps(mask)[1:].view(np.uint8)
        return self.sizes(np.add.reduceat(flat, self.edges, dtype=np.intp)[::2])

    def mask(self, chosen: Array) -> Array:
        """Returns the mask, boolean ``[H, W]``, of the components whose entry in ``chosen`` is true."""
        height, width = self.shape
        ends = np.concatenate([[0], self.edges, [height * (width + 1)]])
        values = np.zeros(len(ends) - 1, bool)
        values[1::2] = chosen[self.component]
        return values.repeat(ends[1:] - ends[:-1]).reshape(height, -1)[:, :width]

    def large(self, size: Array, share: float) -> Array:
        """Returns the mask, boolean ``[H, W]``, of the components whose ``size`` exceeds this share of the largest."""
        return self.mask(size > share * size.max(initial=0))

    def _with_gaps(self, mask: Array) -> Array:
        """Returns the mask as a flat array with a false pixel before it and after each row, so that runs end with their row."""
        height, width = self.shape
        flat = np.zeros(1 + height * (width + 1), bool)
        flat[1:].reshape(height, -1)[:, :width] = mask
        return flat

    def _join(self, touching: Array, stride: int) -> Array:
        """Returns the component number of each run.

        Args:
            touching: Flat positions at which runs of neighboring rows begin to overlap.
            stride: Distance between neighboring rows in the flat mask.
        """
        begins = self.edges[::2]
        root = list(range(len(begins)))
        above, below = (begins.searchsorted(touching + step, "right") - 1 for step in (0, stride))
        for upper, lower in zip(above.tolist(), below.tolist(), strict=True):
            while root[upper] != upper:
                upper = root[upper]
            while root[lower] != lower:
                lower = root[lower]
            if upper < lower:  # min and max would take half the time of the loop
                root[upper] = lower
            else:
                root[lower] = upper
        for run in range(len(root) - 1, -1, -1):  # a root comes after its runs, so it is final here
            root[run] = root[root[run]]
        return np.array(root, np.intp)
