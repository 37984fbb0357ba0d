"""Interleaved rounds over contestants, each in its own process, and the figures that come of them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Contestant", "Plan", "measure"]


@dataclass(frozen=True)
class Contestant:
    """What is measured: a name for people, how it computes, and its file."""

    name: str
    kind: str
    path: str


@dataclass(frozen=True)
class Plan:
    """How much is measured of each contestant."""

    rounds: int = 20
    calls: int = 500
    """Calls of the hot loop in each round."""
    paced: int = 5
    """Calls at ten a second in each round."""
    starts: int = 5
    """Whole processes started from cold."""


def measure(contestants: list[Contestant], plan: Plan, note: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Measure all contestants in turns, so that a noisy machine hits all alike.

    Returns:
        By name: ``missing`` with a reason, or ``hot`` and ``paced`` (µs: ``p50``, ``p90``, ``p99``, ``mean``),
        ``first_call`` and ``cold_start`` (ms), ``images_per_second``, ``peak_rss`` (MB), ``same_answers`` (as the first).
    """
    results: dict[str, dict[str, Any]] = {c.name: {} for c in contestants}
    workers: dict[str, subprocess.Popen[str]] = {}
    starts: dict[str, list[float]] = {c.name: [] for c in contestants}
    for turn in range(plan.starts):
        for contestant in contestants:
            if "missing" in results[contestant.name]:
                continue
            begin = time.perf_counter()
            worker = _start(contestant)
            hello = json.loads(worker.stdout.readline() or '{"missing": "it ended without a word"}')
            starts[contestant.name].append(time.perf_counter() - begin)
            if "missing" in hello:
                results[contestant.name] = hello
            elif turn == plan.starts - 1:
                workers[contestant.name] = worker
                results[contestant.name]["first_call"] = hello["first"] * 1e3
                continue
            _stop(worker)
    times: dict[str, dict[str, list[float]]] = {name: {"hot": [], "paced": []} for name in workers}
    for worker in workers.values():
        _ask(worker, {"calls": plan.calls, "pause": 0})  # warm-up, not counted
    for turn in range(plan.rounds):
        note(f"round {turn + 1} of {plan.rounds}")
        for name, worker in workers.items():
            times[name]["hot"] += _ask(worker, {"calls": plan.calls, "pause": 0})
            times[name]["paced"] += _ask(worker, {"calls": plan.paced, "pause": 0.1})
    reference = None
    for name, worker in workers.items():
        answers = _ask(worker, {"answers": 64})
        reference = reference or answers
        results[name] |= {mode: _percentiles(values) for mode, values in times[name].items()}
        results[name] |= {
            "images_per_second": 1e6 / results[name]["hot"]["mean"],
            "cold_start": float(np.median(starts[name])) * 1e3,
            "peak_rss": _ask(worker, {"rss": True}) / 1e6,
            "same_answers": sum(a == b for a, b in zip(answers, reference, strict=True)) / len(answers),
        }
        _stop(worker)
    return results


def _start(contestant: Contestant) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fmnist_runtime.bench.worker", contestant.kind, contestant.path]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _ask(worker: "subprocess.Popen[str]", request: dict[str, Any]) -> Any:
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def _stop(worker: "subprocess.Popen[str]") -> None:
    worker.communicate()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1e6
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "mean": float(values.mean()), "calls": len(values)}
