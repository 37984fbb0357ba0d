"""Quantiles and ratios of durations, each with a 95% confidence interval.

Consecutive calls depend on the same state of the machine, so the independent samples are rounds, not single calls. Intervals
come from resampling whole rounds (the block bootstrap: Künsch 1989, "The jackknife and the bootstrap for general stationary
observations"). For a ratio, the same rounds of both contestants are drawn, because they ran at the same time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["describe", "ratio"]

Rounds = list[np.ndarray]
"""One array for each round: the seconds of its calls."""

_RESAMPLES = 400
"""Number of bootstrap samples: ten of them lie beyond each end of a 95% interval."""


def describe(rounds: Rounds) -> dict[str, Any]:
    """Computes statistics of all calls, without removing outliers.

    Returns:
        ``calls`` and ``rounds``, their numbers; ``p50``, ``p90``, ``p99``, ``p99.9`` and ``mean`` in microseconds, each
        with a 95% confidence interval, such as ``p50 interval``.
    """
    figures: dict[str, Any] = {"calls": sum(map(len, rounds)), "rounds": len(rounds)}
    measures = {name: _quantile(float(name[1:]) / 100) for name in ("p50", "p90", "p99", "p99.9")} | {"mean": np.mean}
    for name, measure in measures.items():
        resampled = [measure(_pool(rounds, chosen)) for chosen in _choices(len(rounds))]
        figures[name] = float(measure(np.concatenate(rounds))) * 1e6
        figures[f"{name} interval"] = [float(x) * 1e6 for x in np.quantile(resampled, [0.025, 0.975])]
    return figures


def ratio(numerator: Rounds, denominator: Rounds) -> dict[str, Any]:
    """Divides the median duration of one contestant by that of another; both were measured in the same rounds.

    Args:
        numerator: Durations of the first contestant.
        denominator: Durations of the second contestant.

    Returns:
        ``ratio`` and its 95% confidence ``interval``.

    Raises:
        ValueError: The numbers of rounds differ.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"{len(numerator)} and {len(denominator)} rounds: the two were not measured side by side")
    resampled = [np.median(_pool(numerator, c)) / np.median(_pool(denominator, c)) for c in _choices(len(numerator))]
    value = float(np.median(np.concatenate(numerator)) / np.median(np.concatenate(denominator)))
    return {"ratio": value, "interval": [float(x) for x in np.quantile(resampled, [0.025, 0.975])]}


def _choices(rounds: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))


def _pool(rounds: Rounds, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate([rounds[i] for i in chosen])


def _quantile(share: float) -> Callable[[np.ndarray], Any]:
    return lambda values: np.quantile(values, share)
