"""Quantiles and ratios of durations, each with a 95% confidence interval.

Consecutive calls share the state of the machine, so rounds are the independent samples, not single calls. Intervals come
from resampling whole rounds (the block bootstrap: Künsch 1989, "The jackknife and the bootstrap for general stationary
observations"). A ratio resamples the same rounds of both contestants, because they ran side by side.
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
    """Describes all calls, outliers included.

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


def ratio(ours: Rounds, theirs: Rounds) -> dict[str, Any]:
    """Divides the median call of ``ours`` by that of ``theirs``; both were measured in the same rounds.

    Returns:
        ``ratio`` and its 95% confidence ``interval``.

    Raises:
        ValueError: The numbers of rounds differ.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} rounds: the two were not measured side by side")
    resampled = [np.median(_pool(ours, c)) / np.median(_pool(theirs, c)) for c in _choices(len(ours))]
    value = float(np.median(np.concatenate(ours)) / np.median(np.concatenate(theirs)))
    return {"ratio": value, "interval": [float(x) for x in np.quantile(resampled, [0.025, 0.975])]}


def _choices(rounds: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))


def _pool(rounds: Rounds, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate([rounds[i] for i in chosen])


def _quantile(share: float) -> Callable[[np.ndarray], Any]:
    return lambda values: np.quantile(values, share)
