"""Interleaved measurement of contestants, each in a process of its own.

In each round every contestant runs once, so that other load on the machine affects all of them alike.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_bench.backends.registry import Files
from fmnist_bench.distributions import closure, installed_bytes
from fmnist_bench.process import ContestantProcess
from fmnist_bench.statistics import Rounds, describe, ratio

__all__ = ["Measurement", "Plan", "Results"]

Results = dict[str, dict[str, Any]]
"""Figures by contestant; a contestant that cannot run has only ``missing``, the reason."""

_TRIES = 3
"""Number of measurements of each throughput. The highest is reported, because other load can only lower it."""


@dataclass(frozen=True)
class Plan:
    """Amount of work for each contestant; the defaults are those of published figures."""

    rounds: int = 20
    """Rounds of hot and paced calls."""
    calls: int = 100
    """Smallest number of hot calls in a round."""
    seconds: float = 0.5
    """Smallest duration of the hot calls in a round, seconds."""
    paced: int = 5
    """Number of calls in a round that follow a pause of 0.1 s each."""
    starts: int = 10
    """Number of cold starts, from the start of the process to the first answer."""
    batches: tuple[int, ...] = (1, 8, 32, 128)
    """Batch sizes of the throughput."""
    threads: tuple[int, ...] = (1,)
    """Thread counts of the throughput."""


@dataclass(frozen=True)
class Measurement:
    """One run over all contestants."""

    contestants: dict[str, str]
    """Entry point, ``module:object``, by name; the first contestant is the denominator of all ratios."""
    plan: Plan
    """Amount of work."""
    folder: Path
    """Existing folder for converted models."""
    progress: Callable[[str, Results], None]
    """Function that is called with the name of each step and the figures so far, between requests to contestants."""
    results: Results = field(default_factory=dict)
    """Figures so far."""

    def run(self, files: Files, images: np.ndarray) -> Results:
        """Measures all contestants.

        Args:
            files: Files of the weights.
            images: Images that each contestant classifies once, for its ``answers``, uint8 ``[N, 1, 28, 28]``.

        Returns:
            By name, ``missing`` with a reason, or: ``hot`` and ``paced`` (see ``describe``), ``ratio`` to the first
            contestant, ``hot_cpu_us`` and ``paced_cpu_us`` (processor time of a call in µs), ``cold_start`` and
            ``first_call`` (see ``describe``), ``throughput`` (images a second by threads and batch size), ``peak_rss``
            (bytes), ``installed`` (bytes by distribution), ``versions`` (likewise), ``model_bytes`` and ``answers`` (the
            class of each image).
        """
        self._convert(files)
        np.save(self.folder / "images.npy", images)
        self._answers(self.folder / "images.npy")
        self._cold_starts()
        self._latencies()
        for threads in self.plan.threads:
            self._throughput(threads)
        for result in self._present().values():
            _add_sizes(result)
        return self.results

    def _present(self) -> Results:
        return {name: result for name, result in self.results.items() if "missing" not in result}

    def _convert(self, files: Files) -> None:
        for number, (name, entry_point) in enumerate(self.contestants.items()):
            self.progress(f"preparing {name}", self.results)
            own = self.folder / str(number)  # a name may hold a slash
            own.mkdir()
            with ContestantProcess("convert", entry_point, json.dumps(asdict(files)), str(own)) as process:
                self.results[name] = process.reply()

    def _has_ended(self, name: str, reply: Any) -> bool:
        """Returns whether a contestant's process has ended instead of replying; the contestant is missing then."""
        ended = isinstance(reply, dict) and "missing" in reply
        if ended:
            self.results[name] = reply
        return ended

    def _start(self, name: str, threads: int) -> ContestantProcess:
        return ContestantProcess("serve", self.contestants[name], self.results[name]["model"], str(threads))

    @contextlib.contextmanager
    def _serving(self, threads: int) -> Iterator[dict[str, ContestantProcess]]:
        """Starts the contestants and yields those that are ready, by name; the others become missing."""
        with contextlib.ExitStack() as stack:
            ready: dict[str, ContestantProcess] = {}
            for name in self._present():
                process = stack.enter_context(self._start(name, threads))
                first_reply = process.reply()
                if not self._has_ended(name, first_reply):
                    ready[name] = process
            yield ready

    def _answers(self, images: Path) -> None:
        with self._serving(threads=1) as processes:
            for name, process in processes.items():
                self.progress(f"answers of {name}", self.results)
                answers = process.request(images=str(images))
                if not self._has_ended(name, answers):
                    self.results[name]["answers"] = answers

    def _cold_starts(self) -> None:
        times: dict[str, dict[str, Rounds]] = {name: {"cold_start": [], "first_call": []} for name in self._present()}
        for number in range(self.plan.starts):
            self.progress(f"cold start {number + 1} of {self.plan.starts}", self.results)
            for name, rounds in list(times.items()):
                begin = time.perf_counter()
                with self._start(name, threads=1) as process:
                    first_reply = process.reply()
                    if self._has_ended(name, first_reply):
                        del times[name]
                        continue
                    rounds["cold_start"].append(np.array([time.perf_counter() - begin]))
                    rounds["first_call"].append(np.array([first_reply["first"]]))
        for name, kinds in times.items():
            self.results[name] |= {kind: describe(rounds) for kind, rounds in kinds.items()}

    def _latencies(self) -> None:
        """Measures hot and paced calls with one thread, and the peak memory of the processes that made them."""
        modes = {
            "hot": {"calls": self.plan.calls, "seconds": self.plan.seconds},
            "paced": {"calls": self.plan.paced, "pause": 0.1},
        }
        with self._serving(threads=1) as processes:
            for process in processes.values():
                process.request(**modes["hot"])  # warms up, not counted
            replies: dict[str, dict[str, list[Any]]] = {name: {mode: [] for mode in modes} for name in processes}
            for number in range(self.plan.rounds):
                for name, process in list(processes.items()):
                    self.progress(f"round {number + 1} of {self.plan.rounds}: {name}", self.results)
                    for mode, request in modes.items():
                        reply = process.request(**request)
                        if self._has_ended(name, reply):
                            del processes[name]
                            break
                        replies[name][mode].append(reply)
                    else:
                        self._preview(name, replies[name]["hot"])
            for name, process in processes.items():
                peak = process.request(rss=True)
                if not self._has_ended(name, peak):
                    self.results[name]["peak_rss"] = peak
        self._describe_latencies({name: replies[name] for name in self._present()})

    def _preview(self, name: str, hot: list[Any]) -> None:
        """Sets the median of the hot calls so far, for the display; ``_describe_latencies`` replaces it."""
        seconds = np.concatenate([reply["seconds"] for reply in hot])
        self.results[name]["hot"] = {"p50": float(np.median(seconds)) * 1e6}

    def _describe_latencies(self, replies: dict[str, dict[str, list[Any]]]) -> None:
        first: Rounds | None = None
        for name, by_mode in replies.items():
            result = self.results[name]
            for mode, answers in by_mode.items():
                rounds = [np.array(reply["seconds"]) for reply in answers]
                result[mode] = describe(rounds)
                result[f"{mode}_cpu_us"] = sum(reply["cpu"] for reply in answers) / result[mode]["calls"] * 1e6
                if mode == "hot":
                    first = first or rounds
                    result["ratio"] = ratio(rounds, first)

    def _throughput(self, threads: int) -> None:
        with self._serving(threads) as processes:
            for batch in self.plan.batches:
                self.progress(f"throughput, threads {threads}, batch {batch}", self.results)
                best = dict.fromkeys(processes, 0.0)
                for _ in range(_TRIES):
                    for name, process in processes.items():
                        reply = process.request(calls=3, seconds=self.plan.seconds / 2, batch=batch)
                        if "seconds" in reply:  # a runtime that takes one image at a time fails here
                            best[name] = max(best[name], batch * len(reply["seconds"]) / sum(reply["seconds"]))
                for name, rate in best.items():
                    by_threads = self.results[name].setdefault("throughput", {})
                    by_threads.setdefault(str(threads), {})[str(batch)] = rate


def _add_sizes(result: dict[str, Any]) -> None:
    packages = closure(tuple(result.pop("packages")))
    result["installed"] = {package: installed_bytes(package) for package in packages}
    result["versions"] = {package: version(package) for package in packages}
    model = Path(result.pop("model"))
    parts = model.parent.glob(f"{model.stem}.*") if model.suffix == ".param" else [model]  # ncnn keeps two files
    result["model_bytes"] = sum(part.stat().st_size for part in parts)
