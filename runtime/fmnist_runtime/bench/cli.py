"""The command ``fmnist-bench``: parse, measure, print."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_runtime.console import run_app
from fmnist_runtime.options import Options

__all__ = ["bench", "main"]


def options() -> Options:
    """The options of ``fmnist-bench``."""
    parser = Options(
        prog="fmnist-bench",
        description="Measure the latency of one answer: int8, float and, where it is installed, PyTorch; interleaved.",
    )
    add = parser.add_argument
    add("--model", default="improved", help="int8 model: file, folder, or embedded by name (default: improved)")
    add("--float", dest="float_model", type=Path, default=Path("artifacts/improved/model.onnx"), help="its float twin")
    add("--checkpoint", type=Path, default=Path("artifacts/improved"), help="the PyTorch checkpoint of both")
    add("--quick", action="store_true", help="a few seconds in all, for a first look")
    add("--json", action="store_true", help="print everything as JSON")
    return parser


def bench(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say; return the exit code."""
    chosen = options().parse_args(args)
    from fmnist_runtime.bench.machine import describe_machine
    from fmnist_runtime.bench.measure import Contestant, Plan, measure
    from fmnist_runtime.store import find_model

    contestants = [
        Contestant("onnxruntime int8", "onnxruntime", str(find_model(chosen.model))),
        Contestant("onnxruntime float", "onnxruntime", str(chosen.float_model)),
        Contestant("PyTorch eager", "pytorch", str(chosen.checkpoint)),
    ]
    plan = Plan(rounds=4, calls=200, paced=3, starts=2) if chosen.quick else Plan()
    note = (lambda text: print(f"\r{text}", end="", file=sys.stderr)) if sys.stderr.isatty() else (lambda text: None)
    results, machine = measure(contestants, plan, note), describe_machine()
    if chosen.json:
        print(json.dumps({"machine": machine, "results": results}, indent=2))
    else:
        print(_table(results, machine))
    return 0


def _table(results: dict[str, dict[str, Any]], machine: dict[str, Any]) -> str:
    lines = [
        f"{machine['processor']} ({', '.join(machine['flags'])}), {machine['cpus_allowed']} CPUs, "
        f"onnxruntime {machine['onnxruntime']}",
        f"{'one thread, one image':<20}{'p50 µs':>9}{'p90':>8}{'p99':>8}{'paced p50':>11}{'images/s':>10}"
        f"{'first ms':>10}{'cold ms':>9}{'RSS MB':>8}{'ratio':>7}",
    ]
    baseline = next((r["hot"]["p50"] for r in results.values() if "hot" in r), None)
    for name, r in results.items():
        if "missing" in r:
            lines.append(f"{name:<20} missing: {r['missing'].splitlines()[0]}")
            continue
        hot = r["hot"]
        wrong = "" if r["same_answers"] > 0.9 else f"  WRONG: only {r['same_answers']:.0%} of the first one's answers"
        lines.append(
            f"{name:<20}{hot['p50']:9.0f}{hot['p90']:8.0f}{hot['p99']:8.0f}{r['paced']['p50']:11.0f}"
            f"{r['images_per_second']:10.0f}{r['first_call']:10.2f}{r['cold_start']:9.0f}{r['peak_rss']:8.0f}"
            f"{hot['p50'] / baseline:7.2f}{wrong}"
        )
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    sys.exit(run_app(bench))
