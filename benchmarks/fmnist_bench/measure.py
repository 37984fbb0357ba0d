"""Interleaved rounds over contestants, each in its own process, and the figures that come of them."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_bench.backends.registry import Files
from fmnist_bench.installed import closure, installed_bytes
from fmnist_bench.statistics import Rounds, describe, ratio

__all__ = ["Plan", "measure"]

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How much is measured of each contestant; the defaults are the rules for figures that are quoted."""

    rounds: int = 20
    calls: int = 100
    """Calls of the hot loop in each round, at least."""
    seconds: float = 0.5
    """Of the hot loop in each round, at least."""
    paced: int = 5
    """Calls at ten a second in each round."""
    starts: int = 10
    """Whole processes started from cold."""
    batches: tuple[int, ...] = (1, 8, 32, 128)
    """Batch sizes of the throughput, with one thread and with all."""
    threads: tuple[int, ...] = (1,)


class Worker:
    """A contestant's process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "fmnist_bench.worker", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, **pipes)

    def hear(self) -> Any:
        """The next reply; ``missing`` where the process has ended without one."""
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # some runtimes greet on standard output
                return json.loads(line)
        return {"missing": f"its process ended with code {self._process.wait()}"}

    def ask(self, **request: Any) -> Any:
        """One request, one reply."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def measure(
    contestants: dict[str, str],
    files: Files,
    plan: Plan,
    images: np.ndarray,
    folder: Path,
    note: Callable[[str], None],
) -> Results:
    """Measure all contestants in turns, so that a noisy machine hits all alike.

    Args:
        contestants: ``module:object`` by name.
        files: the weights.
        plan: how much.
        images: uint8 ``[N, 1, 28, 28]`` that each contestant classifies once, for its ``answers``.
        folder: for converted models; must exist.
        note: told what goes on.

    Returns:
        By name: ``missing`` with a reason; or ``hot`` and ``paced`` (see ``describe``), ``ratio`` to the first contestant,
        ``cpu_us`` and ``paced_cpu_us`` (µs of processor time a call), ``cold_start`` and ``first_call`` (µs, described),
        ``throughput`` (images a second by threads and batch), ``peak_rss`` (bytes), ``installed`` (bytes by
        distribution; ``versions`` likewise), ``model_bytes`` and ``answers`` (a class an image).
    """
    results: Results = {}
    for name, place in contestants.items():
        note(f"preparing {name}")
        own = folder / name.replace(" ", "-")
        own.mkdir(exist_ok=True)
        worker = Worker("convert", place, json.dumps(asdict(files)), str(own))
        results[name] = worker.hear()
        worker.stop()
    np.save(folder / "images.npy", images)
    _check(results, contestants, folder / "images.npy", note)
    _cold_starts(results, contestants, plan, note)
    _loops(results, contestants, plan, note)
    _throughput(results, contestants, plan, note)
    for result in _present(results).values():
        packages = closure(tuple(result.pop("packages")))
        result["installed"] = {package: installed_bytes(package) for package in packages}
        result["versions"] = {package: version(package) for package in packages}
        model = Path(result.pop("model"))
        parts = model.parent.glob(f"{model.stem}.*") if model.suffix == ".param" else [model]  # ncnn keeps two files
        result["model_bytes"] = sum(part.stat().st_size for part in parts)
    return results


def _present(results: Results) -> Results:
    return {name: result for name, result in results.items() if "missing" not in result}


@contextlib.contextmanager
def _serving(results: Results, contestants: dict[str, str], threads: int) -> Iterator[dict[str, Worker]]:
    """Workers by name, each ready; a contestant that cannot load becomes missing."""
    workers: dict[str, Worker] = {}
    try:
        for name, result in _present(results).items():
            worker = Worker("serve", contestants[name], result["model"], str(threads))
            workers[name] = worker
            hello = worker.hear()
            if "missing" in hello:
                worker.stop()
                del workers[name]
                results[name] = hello
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def _check(results: Results, contestants: dict[str, str], images: Path, note: Callable[[str], None]) -> None:
    """Before any timing: what does each answer?"""
    with _serving(results, contestants, 1) as workers:
        for name, worker in workers.items():
            note(f"answers of {name}")
            answers = worker.ask(images=str(images))
            if "missing" in answers:
                results[name] = answers
            else:
                results[name]["answers"] = answers


def _cold_starts(results: Results, contestants: dict[str, str], plan: Plan, note: Callable[[str], None]) -> None:
    """Whole processes, from nothing to the first answer."""
    took: dict[str, dict[str, Rounds]] = {name: {"cold_start": [], "first_call": []} for name in _present(results)}
    for turn in range(plan.starts):
        note(f"cold start {turn + 1} of {plan.starts}")
        for name, rounds in took.items():
            begin = time.perf_counter()
            worker = Worker("serve", contestants[name], results[name]["model"], "1")
            hello = worker.hear()
            rounds["cold_start"].append(np.array([time.perf_counter() - begin]))
            rounds["first_call"].append(np.array([hello["first"]]))
            worker.stop()
    for name, kinds in took.items():
        results[name] |= {kind: describe(rounds) for kind, rounds in kinds.items()}


def _loops(results: Results, contestants: dict[str, str], plan: Plan, note: Callable[[str], None]) -> None:
    """Hot and paced calls, one thread, all contestants in each round; the peak memory of it."""
    modes = {
        "hot": {"calls": plan.calls, "seconds": plan.seconds},
        "paced": {"calls": plan.paced, "pause": 0.1},
    }
    with _serving(results, contestants, 1) as workers:
        for worker in workers.values():
            worker.ask(**modes["hot"])  # warm-up, not counted
        replies: dict[str, dict[str, list[Any]]] = {name: {mode: [] for mode in modes} for name in workers}
        for turn in range(plan.rounds):
            note(f"round {turn + 1} of {plan.rounds}")
            for name, worker in workers.items():
                for mode, request in modes.items():
                    replies[name][mode].append(worker.ask(**request))
        for name, worker in workers.items():
            results[name]["peak_rss"] = worker.ask(rss=True)
    first: Rounds | None = None
    for name, by_mode in replies.items():
        for mode, answers in by_mode.items():
            rounds = [np.array(reply["seconds"]) for reply in answers]
            results[name][mode] = describe(rounds)
            results[name][f"{mode}_cpu_us"] = sum(r["cpu"] for r in answers) / results[name][mode]["calls"] * 1e6
            if mode == "hot":
                first = first or rounds
                results[name]["ratio"] = ratio(rounds, first)


def _throughput(results: Results, contestants: dict[str, str], plan: Plan, note: Callable[[str], None]) -> None:
    """Images a second by threads and batch size: the best of three tries, in turns."""
    for threads in plan.threads:
        with _serving(results, contestants, threads) as workers:
            for batch in plan.batches:
                note(f"throughput, threads {threads}, batch {batch}")
                best = dict.fromkeys(workers, 0.0)
                for _ in range(3):
                    for name, worker in workers.items():
                        reply = worker.ask(calls=3, seconds=plan.seconds / 2, batch=batch)
                        if "seconds" in reply:  # some runtimes take one image at a time and no more
                            rate = batch * len(reply["seconds"]) / sum(reply["seconds"])
                            best[name] = max(best[name], rate)
                for name, rate in best.items():
                    results[name].setdefault("throughput", {}).setdefault(str(threads), {})[str(batch)] = rate
