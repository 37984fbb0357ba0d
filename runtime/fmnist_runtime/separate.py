"""Goods and ground where the ground is not plain: histograms of the colours of both, sharpened in turn.

Half the logit of each pixel's chance to be goods is the sum of what its own and its neighbours' colours, places and
distances from the ground say; its hyperbolic tangent, that chance less the other one, says how the colours are shared.
"""

import numpy as np

from fmnist_runtime.ground import Frame, distance_from, lattice_mean
from fmnist_runtime.pixels import box_sum

__all__ = ["separate"]

_BINS = (16, 24, 24)
"""Histogram bins of L, a, b."""
_ROUNDS = 6
_DOUBT = 2e-5
"""Over ten times as much as float32 was found to differ from float64 on 634 photos."""


def separate(lab: np.ndarray, surface: np.ndarray, spread: float, frame: Frame) -> np.ndarray:
    """On any other ground: histograms of both, sharpened in turn.

    float32 is nearly twice as fast as float64, and differs by less than ``_DOUBT``: where that could decide about a pixel,
    float64 is asked.
    """
    bins = _Bins(lab)
    field = _sharpen(distance_from(lab, surface, frame, np.float32), spread, bins, frame)
    if np.abs(field).min() < _DOUBT:
        field = _sharpen(distance_from(lab, surface, frame), spread, bins, frame)
    return field > 0


def _sharpen(distance: np.ndarray, spread: float, bins: "_Bins", frame: Frame) -> np.ndarray:
    """Half the logit of each pixel's chance to be goods, so that its hyperbolic tangent is that chance less the other.

    All arrays here are flat with the rows of the lattice; what stands in the four places behind each row is in bin 0,
    which is empty otherwise.
    """
    (height, width), precision, row = distance.shape, distance.dtype, distance.shape[1] + 4
    threshold = min(max(2.2 * max(1.5, spread), 7), 26)
    evidence = distance.take(frame.lattice)
    evidence -= threshold
    evidence /= 0.35 * threshold
    np.clip(evidence, -4, 4, out=evidence)
    field = 0.5 * lattice_mean(evidence, row, 1) + 0.35 * frame.near.astype(precision)
    prior = 0.375 * lattice_mean(evidence, row, 2) + 0.6 * frame.around.astype(precision)
    del evidence  # what a short process has once taken is its peak memory
    spread_code = bins.code.take(frame.lattice)
    inner = np.zeros((height, row), np.intp)
    inner[:, :width] = bins.code.reshape(height, width)
    inner = inner.ravel()
    for _ in range(_ROUNDS):
        colour = bins.log_ratio(np.bincount(inner, np.tanh(field, out=field), bins.number))
        colour *= 0.675 / 25
        field = box_sum(colour.astype(precision).take(spread_code), row, 2)
        field += prior
    return field.reshape(height, row)[:, :width]


class _Bins:
    """Histograms of the picture's colours, in the smallest box that holds all bins in use and a margin of empty ones."""

    def __init__(self, lab: np.ndarray) -> None:
        code, shape, kept = np.float32(0), [], np.ones(1)
        for values, bins, low, span in zip(lab, _BINS, (0, -60, -60), (100, 120, 120), strict=True):
            index, first, last = _indices(values, bins, low, span)
            index -= first - 1
            shape.append(last - first + 3)
            code = code * shape[-1] + index
            inside = np.ones(shape[-1])  # what is spread over the end of the scale is lost
            inside[1] -= 0.25 * (first == 0)
            inside[-2] -= 0.25 * (last == bins - 1)
            kept = (kept[:, None] * inside).ravel()
        self.code = code.astype(np.intp).ravel()
        """Each pixel's bin, flat ``[H * W]``."""
        self.number = len(kept)
        self._kept = kept
        self._steps = (shape[1] * shape[2], shape[2], 1)
        count = np.bincount(self.code, minlength=self.number)
        self._count, self._total = self._smooth(count), float(count @ kept)

    def log_ratio(self, margin: np.ndarray) -> np.ndarray:
        """Logarithm, -4..4, of how much likelier each bin's colour is among the goods than in the ground.

        Args:
            margin: goods less ground in each bin, flat; what is in bin 0 does not count.
        """
        margin[0] = 0
        lead, smooth = float(margin @ self._kept), self._smooth(margin)
        goods = (self._count + smooth) / (64 * (self._total + lead + 2e-9)) + 2e-5
        ground = (self._count - smooth) / (64 * (self._total - lead + 2e-9)) + 2e-5
        ratio = np.zeros(self.number)
        edge = sum(self._steps)
        np.log(goods / ground, out=ratio[edge:-edge])
        return np.clip(ratio, -4, 4, out=ratio)

    def _smooth(self, histogram: np.ndarray) -> np.ndarray:
        """Spread each bin over its neighbours, with weights 1, 2, 1 along each axis (64 in all).

        Flat, and without the margin at either end.
        """
        for step in self._steps:
            spread = histogram[: -2 * step] + histogram[2 * step :]
            spread += 2 * histogram[step:-step]
            histogram = spread
        return histogram


def _indices(values: np.ndarray, bins: int, low: float, span: float) -> tuple[np.ndarray, int, int]:
    """Each value's bin, as float32 ``[H, W]``, and the first and the last bin in use."""
    index = values * np.float32(bins / span)
    index += np.float32(-low * bins / span)
    np.floor(index, out=index)
    first, last = int(index.min()), int(index.max())
    if first < 0 or last >= bins:
        np.clip(index, 0, bins - 1, out=index)
        first, last = (min(max(place, 0), bins - 1) for place in (first, last))
    return index, first, last
