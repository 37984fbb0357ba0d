"""The color model: bins and smoothed log-odds."""

import numpy as np

from fmnist_runtime.preprocessing import color_model
from fmnist_runtime.preprocessing.array_ops import (
    _CURVE,
)
from fmnist_runtime.preprocessing.parameters import PARAMETERS


def test_colors_fall_into_the_bins_of_exact_arithmetic() -> None:
    p = PARAMETERS.color_model
    difference = np.arange(-65536, 65537).astype(np.float32) / 65536  # all that x - y and y - z can be
    for axis, values in enumerate((116 * _CURVE - 16, 500 * difference, 200 * difference)):
        low, span, bins = p.low[axis], p.span[axis], p.bins[axis]
        exact = ((values.astype(np.float64) - low) / span * bins).astype(int).clip(0, bins - 1)
        lab = np.zeros((3, 1, len(values)), np.float32)
        lab[axis] = values
        codes = color_model.ColorHistogram(lab).codes
        assert np.array_equal(codes, exact - exact.min())  # every bin occurs, so codes count them


def test_log_ratios_are_those_of_smoothed_histograms() -> None:
    p = PARAMETERS.color_model
    rng = np.random.default_rng(0)
    lab = (rng.random((3, 20, 20)) * 180 - 80).astype(np.float32)  # beyond the ends of a and b, too
    margin = np.tanh(rng.normal(size=400))
    histogram = color_model.ColorHistogram(lab)
    axes = zip(lab.reshape(3, -1).astype(np.float64), p.bins, p.low, p.span, strict=True)
    place = [np.floor((v - low) / span * n).clip(0, n - 1).astype(int) + 1 for v, n, low, span in axes]
    shares = []
    for weight in (1 + margin, 1 - margin):
        full = np.zeros([n + 2 for n in p.bins])
        np.add.at(full, tuple(place), weight)
        for axis in range(3):
            full = full / 2 + (np.roll(full, 1, axis) + np.roll(full, -1, axis)) / 4
        shares.append(full[tuple(place)] / weight.sum() + p.floor)
    expected = np.log(shares[0] / shares[1]).clip(-p.max_ratio, p.max_ratio)
    np.testing.assert_allclose(histogram.log_ratio(margin)[histogram.codes], expected, rtol=1e-9)
