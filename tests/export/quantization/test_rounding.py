"""Rounding that compensates errors is closer than rounding to the nearest."""

import numpy as np

from fmnist_export.quantization.rounding import round_in_turn


def test_rounding_in_turn_beats_the_nearest() -> None:
    rng = np.random.default_rng(0)
    inputs = np.append(rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)), np.ones((500, 1)), axis=1)
    weights, scale = rng.normal(size=(5, 13)), np.full(5, 0.25)
    integers, bias = round_in_turn(weights, inputs.T @ inputs, scale, 64)
    nearest = np.round(weights[:, :-1] / 0.25) * 0.25
    ours = np.append(integers * 0.25, bias[:, None], axis=1)
    wrong = [np.append(nearest, weights[:, -1:], axis=1), ours]
    by_nearest, by_turn = (float(((inputs @ (w - weights).T) ** 2).mean()) for w in wrong)
    assert (integers == np.round(integers)).all() and by_turn < 0.6 * by_nearest
