"""Color segmentation on a background that is not plain: two color histograms that refine each other.

::

    color difference from the background ──► distance evidence ─┐
    position in the image ─────────────────► position prior ────┤
                                                                ▼
              ┌──────────────────────────────────────► half log-odds of foreground, per pixel
              │                                                 │ tanh
              │ color term: log-ratio of the                    ▼
              │ pixel's bin, smoothed over                 P(foreground) - P(background), per pixel
              │ its neighbors                                   │ summed by color bin, smoothed over neighboring bins
              └──── log(foreground histogram / background histogram) ◄─┘          (``rounds`` times, then one final pass)

This is expectation maximization, as in GrabCut (Rother, Kolmogorov, Blake 2004), with histograms in place of Gaussian
mixtures and with local averaging in place of the graph cut. All smoothing has the binomial weights 1, 2, 1.
"""

import numpy as np

from fmnist_runtime.preprocessing.array_ops import Array, binomial_sum
from fmnist_runtime.preprocessing.background import Geometry
from fmnist_runtime.preprocessing.parameters import PARAMETERS

__all__ = ["ColorHistogram", "foreground_log_odds"]

_P = PARAMETERS.color_model
_AXES = list(zip(_P.bins, _P.low, _P.span, strict=True))
_SCALE = np.array([[bins / span] for bins, _, span in _AXES], np.float32)
_OFFSET = np.array([[-low * bins / span] for bins, low, span in _AXES], np.float32)
_LAST_BIN = np.array(_P.bins, np.float32) - 1


def foreground_log_odds(lab: Array, distance: Array, spread: float, geometry: Geometry) -> Array:
    """Computes each pixel's half log-odds of being foreground from color, distance and position.

    Args:
        lab: CIELAB image, float32 ``[3, H, W]``.
        distance: Color difference from the background, float64 ``[H, W]``.
        spread: Typical color difference of the background from its model.
        geometry: Geometry of ``(H, W)``.

    Returns:
        float64 ``[H, W]``; the hyperbolic tangent is P(foreground) - P(background).
    """
    height, width = distance.shape
    row = width + 2
    evidence = binomial_sum(_distance_evidence(distance, spread).take(geometry.padded), (row, 1))
    evidence /= 16
    histogram = ColorHistogram(lab)
    padded_codes = histogram.codes.take(geometry.padded)
    prior = _P.distance_weight * evidence + _P.position_weight * geometry.position_prior
    log_odds = _P.start_distance_weight * evidence + _P.start_position_weight * geometry.position_prior
    for remaining in range(_P.rounds - 1, -1, -1):
        margin = np.tanh(log_odds, out=log_odds).reshape(height, row)[:, :width]
        ratio = histogram.log_ratio(margin.ravel())
        ratio *= (
            _P.learning_weight if remaining else _P.final_weight
        ) / 16  # the weights of ``binomial_sum`` add up to 16
        log_odds = binomial_sum(ratio.take(padded_codes), (row, 1))
        log_odds += prior
    return log_odds.reshape(height, row)[:, :width]


def _distance_evidence(distance: Array, spread: float) -> Array:
    """Returns the evidence of the color difference from the background: 0 at a threshold that grows with the spread."""
    threshold = _P.threshold_spreads * max(_P.min_spread, spread)
    threshold = min(max(threshold, _P.threshold_min), _P.threshold_max)
    evidence = (distance - threshold) / (_P.threshold_slope * threshold)
    return evidence.clip(-_P.max_evidence, _P.max_evidence, out=evidence)


class ColorHistogram:
    """Histogram of an image's colors over the bins that occur.

    Bins lie flat in the smallest box that holds all colors with a margin of empty bins, so that smoothing stays inside.
    """

    def __init__(self, lab: Array) -> None:
        index = lab.reshape(3, -1) * _SCALE
        index += _OFFSET
        np.floor(index, out=index)
        first, last = np.minimum.reduce(index, axis=1), np.maximum.reduce(index, axis=1)
        if any(low < 0 or high >= bins for low, high, bins in zip(first.tolist(), last.tolist(), _P.bins, strict=True)):
            index.clip(0, _LAST_BIN[:, None], out=index)
            first, last = first.clip(0, _LAST_BIN), last.clip(0, _LAST_BIN)
        lengths = [int(length) + 3 for length in last - first]
        self._strides = (lengths[1] * lengths[2], lengths[2], 1)
        self._margin = sum(self._strides)
        strides = np.array(self._strides, np.float32)
        self._bins = (strides @ index + (self._margin - strides @ first)).astype(np.intp)
        count = np.bincount(self._bins, minlength=lengths[0] * self._strides[0])
        self._size = len(count)
        (occupied,) = (count > 0).nonzero()
        self._occupied = occupied - self._margin
        self._count = self._smooth(count)
        code = np.empty(self._size, np.intp)
        code[occupied] = np.arange(len(occupied))
        self.codes: Array = code.take(self._bins)
        """Index of each pixel's bin among the bins that occur, intp, flat ``[H * W]``."""

    def log_ratio(self, margin: Array) -> Array:
        """Returns, for each bin that occurs, the logarithm of its foreground share divided by its background share.

        Args:
            margin: P(foreground) - P(background) of each pixel, float64, flat ``[H * W]``.
        """
        total, lead = len(self._bins), float(np.add.reduce(margin))
        margins = self._smooth(np.bincount(self._bins, margin, self._size))
        # The factor 2 of both probabilities cancels.
        foreground = (self._count + margins) / (total + lead + _P.epsilon) + _P.floor
        background = (self._count - margins) / (total - lead + _P.epsilon) + _P.floor
        ratio = np.log(foreground / background)
        return ratio.clip(-_P.max_ratio, _P.max_ratio, out=ratio)

    def _smooth(self, histogram: Array) -> Array:
        """Returns the mean over 3×3×3 bins with weights 1, 2, 1, for each bin that occurs."""
        return binomial_sum(histogram, self._strides).take(self._occupied) / 64
