"""Ratios of latency, memory and throughput beside their goals, from one run.

    python benchmarks/studies/speed.py [--quick] [--bench FILE]

Runs ``fmnist-bench`` (or takes the JSON of an earlier run), then the ratios of ``speed_cases.py``; writes
``benchmarks/results/bench.json``, ``speed.json``, ``docs/bench.png`` and the tables of ``docs/benchmark.md``.
``--quick`` is a smoke test and writes nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speed_cases as cases
from table_text import speed
from tables import RESULTS, ROOT, write_tables

from fmnist_bench.report import format_table
from fmnist_bench.statistics import ratio
from fmnist_runtime.files import write_atomically
from fmnist_runtime.machine import describe_machine


@dataclass(frozen=True)
class Goal:
    """A ratio and its goal."""

    what: str
    """Text of the table."""
    limit: float
    """Largest ratio of ours to the baseline; the least one where ``at_least``."""
    case: Any
    """Function of ``speed_cases`` that measures both sides."""
    at_least: bool = False
    """True for a throughput: seconds of the baseline over ours."""


GOALS = (
    Goal("PNG of 300×300 to answer, warm, over Pillow's decoding and the model call", 1.3, cases.photo),
    Goal("JPEG of 12 megapixels to answer, over Pillow's draft decoding", 1.15, cases.jpeg),
    Goal("`fmnist-infer photo.png`, whole process, over a minimal script", 1.2, cases.cold),
    Goal("its peak memory, over the minimal script's", 1.1, cases.memory),
    Goal("images a second of 10,000 PNGs of 28×28, over a plain loop", 1.8, cases.folder, at_least=True),
)


def measure(goal: Goal, folder: Path, times: int) -> dict[str, Any]:
    """Returns the goal with its ``ratio``, ``interval``, and ``met``: whether the ratio itself reaches it."""
    ours, baseline = goal.case(folder, times)
    found = ratio(baseline, ours) if goal.at_least else ratio(ours, baseline)
    met = found["ratio"] >= goal.limit if goal.at_least else found["ratio"] <= goal.limit
    return {"what": goal.what, "goal": goal.limit, "at_least": goal.at_least, **found, "met": met}


def against_peers(bench: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the ratio of the default model's call to that of the fastest correct int8 peer; None without a peer."""
    results = bench["results"]
    peers = {
        name: r["hot"]
        for name, r in results.items()
        if "int8" in name and name != "onnxruntime int8" and "hot" in r and not r.get("wrong")
    }
    if not peers:
        return None
    name = min(peers, key=lambda peer: peers[peer]["p50"])
    theirs = results[name]["ratio"]  # of the peer over onnxruntime int8, which comes first
    low, high = theirs["interval"]
    value = 1 / theirs["ratio"]
    what = f"model call, int8, over the best int8 peer ({name})"
    return {
        "what": what,
        "goal": 1.0,
        "at_least": False,
        "ratio": value,
        "interval": [1 / high, 1 / low],
        "met": value <= 1,
    }


def against_default(folder: Path, times: int) -> dict[str, Any]:
    """Returns the ratio of the call of ``improved-lite`` to the default's; met only at equal accuracy (one standard error)."""
    lite, improved = (
        json.loads((ROOT / "artifacts" / name / "parity.json").read_text("utf-8"))["accuracy"]["int8"]["accuracy"]
        for name in ("improved-lite", "improved")
    )
    error = (improved * (1 - improved) / 10_000) ** 0.5
    what = (
        f"model call of `improved-lite` over the default's, at equal accuracy ({lite:.2%} and {improved:.2%}, "
        f"standard error {100 * error:.2f} points)"
    )
    found = measure(Goal(what, 0.6, cases.lighter), folder, times)
    return found | {"met": found["met"] and lite >= improved - error}


def run_bench(*, quick: bool) -> dict[str, Any]:
    """Runs ``fmnist-bench`` in a process of its own and returns its document."""
    code = "from fmnist_bench.cli import main; main()"
    command = [sys.executable, "-c", code, "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("error: fmnist-bench failed")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--bench", type=Path, help="JSON of an earlier run of fmnist-bench")
    options = parser.parse_args()
    bench = json.loads(options.bench.read_text()) if options.bench else run_bench(quick=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        times = 4 if options.quick else 30
        ratios = [against_default(Path(folder), times), *(measure(goal, Path(folder), times) for goal in GOALS)]
    if peer := against_peers(bench):
        ratios.insert(0, peer)
    extra = cases.over_the_base()
    document = {"machine": describe_machine(), "ratios": ratios, "over_the_base": extra}
    print(f"{speed(document)}\n\n{format_table(bench)}")
    if options.quick:
        return
    from fmnist_bench.report import write_chart

    write_atomically(RESULTS / "bench.json", json.dumps(bench, indent=1) + "\n")
    write_atomically(RESULTS / "speed.json", json.dumps(document, indent=1) + "\n")
    write_chart(bench, ROOT / "docs" / "bench.png")
    write_tables("speed")


if __name__ == "__main__":
    main()
