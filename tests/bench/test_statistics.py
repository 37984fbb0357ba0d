"""Quantiles and ratios with their confidence intervals."""

import numpy as np
import pytest

from fmnist_bench.statistics import describe, ratio


def test_quantiles_clip_nothing() -> None:
    rounds = [np.full(100, 1e-4) for _ in range(10)]
    rounds[3] = np.append(rounds[3][:-1], 5.0)
    figures = describe(rounds)
    assert figures["p50"] == pytest.approx(100) and figures["calls"] == 1000 and figures["rounds"] == 10
    assert figures["mean"] == pytest.approx((999 * 1e-4 + 5) / 1000 * 1e6)
    low, high = figures["mean interval"]
    assert low < figures["mean"] < high and low == pytest.approx(100)  # the outlier may be in no resampled round


def test_the_interval_of_a_ratio_holds_the_truth_and_shared_noise_cancels() -> None:
    rng = np.random.default_rng(0)
    state = 1 + rng.random(20)  # a machine twice as slow in some rounds as in others
    theirs = [s * 1e-4 * (1 + 0.01 * rng.random(50)) for s in state]
    ours = [s * 2e-4 * (1 + 0.01 * rng.random(50)) for s in state]
    found = ratio(ours, theirs)
    assert found["interval"][0] <= 2 <= found["interval"][1]
    assert found["interval"][1] - found["interval"][0] < 0.1
    with pytest.raises(ValueError, match="side by side"):
        ratio(ours, theirs[:-1])
