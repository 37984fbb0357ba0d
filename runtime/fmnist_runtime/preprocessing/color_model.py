"""Goods and ground where the ground is not plain: histograms of the colours of both, sharpened in turn.

Half the logit of each pixel's chance to be goods is the sum of what its own and its neighbours' colours, places and
distances from the ground say; its hyperbolic tangent, that chance less the other one, says how the colours are shared.
How they are is found on a sample of the pixels, in a quarter of the time; only the last look is at all of them.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import box_sum
from fmnist_runtime.preprocessing.background import Frame, distance_from, frame_of, lattice_mean, sample_step

__all__ = ["separate"]

_BINS = (16, 24, 24)
"""Histogram bins of L, a, b."""
_ROUNDS = 5
_SAY, _LAST_SAY = 0.675, 0.9
"""How much the colours count beside distance and place, while they are learnt and at the end."""
_CLEAR = 1.0
"""Where the pixels' evidence is less on average, nothing stands out. Noise, grass, gravel and bricks have 0.6 to 0.95, 259
photos of garments on floors, beds and hangers 1.14 and more."""
_DOUBT = 2e-5
"""Over ten times as much as float32 was found to differ from float64 on 634 photos."""


def separate(lab: np.ndarray, surface: np.ndarray, spread: float, frame: Frame) -> np.ndarray:
    """On any other ground: histograms of both, sharpened in turn. All false where nothing stands out.

    float32 is nearly twice as fast as float64, and differs by less than ``_DOUBT``: where that could decide about a pixel,
    float64 is asked.
    """
    bins = _Bins(lab, sample_step(lab.shape[1:]))
    field = _sharpen(distance_from(lab, surface, frame, np.float32), spread, bins, frame)
    evidence = np.abs(field)
    if evidence.min() < _DOUBT:
        field = _sharpen(distance_from(lab, surface, frame), spread, bins, frame)
    return field > 0 if evidence.mean() >= _CLEAR else np.zeros(field.shape, bool)


def _sharpen(distance: np.ndarray, spread: float, bins: "_Bins", frame: Frame) -> np.ndarray:
    """Half the logit of each pixel's chance to be goods, so that its hyperbolic tangent is that chance less the other."""
    sample = np.s_[:: bins.step, :: bins.step]
    grid = _Grid(distance[sample], spread, bins.code[sample], frame_of(bins.code[sample].shape))
    field = 0.5 * grid.evidence + 0.35 * grid.near
    for _ in range(_ROUNDS - 1):
        field = grid.field(bins.log_ratio(grid.tally(field, bins.number)), _SAY)
    ratio = bins.log_ratio(grid.tally(field, bins.number))
    whole = _Grid(distance, spread, bins.code, frame)
    return whole.field(ratio, _LAST_SAY).reshape(distance.shape[0], -1)[:, : distance.shape[1]]


class _Grid:
    """What is known of each pixel apart from the say of its colour; all arrays flat, with the rows of the lattice.

    What stands in the two places behind each row means nothing.
    """

    def __init__(self, distance: np.ndarray, spread: float, code: np.ndarray, frame: Frame) -> None:
        self.row, precision = distance.shape[1] + 2, distance.dtype
        threshold = min(max(2.2 * max(1.5, spread), 7), 26)
        evidence = distance.take(frame.lattice)
        evidence -= threshold
        evidence /= 0.35 * threshold
        np.clip(evidence, -4, 4, out=evidence)
        self.evidence = lattice_mean(evidence, self.row)
        self.near = frame.near.astype(precision)
        self._prior = 0.375 * self.evidence + 0.6 * self.near
        self._code, self._spread_code = code, code.take(frame.lattice)

    def field(self, ratio: np.ndarray, say: float) -> np.ndarray:
        """Half the logits of the pixels, given the logarithm of how much likelier each bin's colour is among the goods."""
        field = box_sum((ratio * (say / 9)).astype(self.near.dtype).take(self._spread_code), self.row)
        field += self._prior
        return field

    def tally(self, field: np.ndarray, number: int) -> np.ndarray:
        """Goods less ground in each of ``number`` bins."""
        margin = np.tanh(field, out=field).reshape(len(self._code), -1)[:, : self._code.shape[1]]
        return np.bincount(self._code.ravel(), margin.ravel(), number)


class _Bins:
    """Histograms of the colours of a sample, every ``step``-th pixel of every ``step``-th row, in the smallest box that holds
    all bins in use and a margin of empty ones."""

    def __init__(self, lab: np.ndarray, step: int) -> None:
        self.step = step
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
        self.code = code.astype(np.intp)
        """Each pixel's bin, ``[H, W]``."""
        self.number = len(kept)
        self._kept = kept
        self._steps = (shape[1] * shape[2], shape[2], 1)
        count = np.bincount(self.code[::step, ::step].ravel(), minlength=self.number)
        self._count, self._total = self._smooth(count), float(count @ kept)

    def log_ratio(self, margin: np.ndarray) -> np.ndarray:
        """Logarithm, -4..4, of how much likelier each bin's colour is among the goods than in the ground.

        Args:
            margin: goods less ground in each bin of the sample, flat.
        """
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
