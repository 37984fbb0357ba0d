"""The command ``fmnist-bench``: parse, measure, print; and ``fmnist-bench compare OLD.json NEW.json``."""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_runtime.cli.console import run_argparse
from fmnist_runtime.cli.options import CommandParser
from fmnist_runtime.errors import ConfigError

__all__ = ["bench", "main"]


def options() -> CommandParser:
    """The options of ``fmnist-bench``."""
    parser = CommandParser(
        prog="fmnist-bench",
        description="Measure one answer of each runtime that is installed, on the same weights, in interleaved rounds.",
        epilog="fmnist-bench compare OLD.json NEW.json tells a regression (exit code 1) from noise.",
    )
    add = parser.add_argument
    add("--model", default="improved", help="int8 model: file, folder, or embedded by name (default: improved)")
    add(
        "--float",
        dest="float_model",
        default="artifacts/improved/model.onnx",
        metavar="FILE",
        help="its float twin (default: artifacts/improved/model.onnx)",
    )
    add(
        "--checkpoint",
        default="artifacts/improved",
        metavar="FOLDER",
        help="the PyTorch checkpoint of both (default: artifacts/improved)",
    )
    add("--only", action="append", metavar="TEXT", help="contestants whose names hold this text; may be repeated")
    add("--contestant", action="append", default=[], metavar="NAME=MODULE:OBJECT", help="one more of your own")
    add("--quick", action="store_true", help="onnxruntime and PyTorch alone, a few seconds in all, for a first look")
    add("--json", action="store_true", help="print everything as JSON")
    add("--picture", type=Path, metavar="FILE", help="draw accuracy against latency")
    return parser


def bench(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say; return the exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments[:1] == ["compare"]:
        return _compare(arguments[1:])
    chosen = options().parse_arguments(arguments)
    from fmnist_bench.report import picture, table

    document = _measure(chosen)
    print(json.dumps(document, indent=1) if chosen.json else table(document))
    if chosen.picture:
        picture(document, chosen.picture)
    return 0


def _measure(chosen: Namespace) -> dict[str, Any]:
    from fmnist_bench.backends.registry import REFERENCE, Files
    from fmnist_bench.measure import Plan, measure
    from fmnist_bench.report import judge_answers
    from fmnist_runtime.batching.cpus import available_cpus
    from fmnist_runtime.machine import describe_machine
    from fmnist_runtime.model_file.store import find_model

    files = Files(str(find_model(chosen.model)), chosen.float_model, chosen.checkpoint)
    plan = Plan(threads=tuple(sorted({1, available_cpus()})))
    if chosen.quick:
        plan = Plan(rounds=4, calls=200, seconds=0, paced=3, starts=2, batches=(1, 32))
    images, labels = _exam(files.int8, quick=chosen.quick)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(_contestants(chosen), files, plan, images, Path(folder), _note)
    judge_answers(results, REFERENCE, labels)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return {"machine": describe_machine(), "test_images": len(labels or []), "results": results}


def _contestants(chosen: Namespace) -> dict[str, str]:
    from fmnist_bench.backends.registry import CONTESTANTS

    found = dict(CONTESTANTS)
    if chosen.quick:
        found = {name: found[name] for name in ("onnxruntime int8", "onnxruntime float", "PyTorch eager")}
    for text in chosen.contestant:
        name, _, place = text.partition("=")
        if not name or ":" not in place:
            raise ConfigError(f"--contestant '{text}': expected NAME=MODULE:OBJECT")
        found[name] = place
    if chosen.only:
        found = {name: place for name, place in found.items() if any(text in name for text in chosen.only)}
        if not found:
            raise ConfigError(f"no contestant's name holds {' or '.join(chosen.only)}; known: {', '.join(CONTESTANTS)}")
    return found


def _exam(model: str, *, quick: bool) -> tuple[Any, list[int] | None]:
    """What each contestant is asked first: the test set where training is installed and has it, else the few real images
    that the model carries for its self-test (made-up ones say little: a network may know that it does not know them)."""
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.selftest import unpack_golden

    if not quick:
        try:
            from fmnist_train.data.sources import find_dataset

            test = find_dataset().load("test")
            return test.images[:, None], test.labels.tolist()
        except Exception as error:  # not installed, or no data set here: the timings do not depend on it
            print(f"note: no test set, so no accuracy ({error})", file=sys.stderr)
    classifier = Classifier.load(model)
    return unpack_golden(classifier.metadata.document.get("selftest"), len(classifier.labels)).images, None


def _note(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _compare(arguments: list[str]) -> int:
    parser = CommandParser("fmnist-bench compare", "Tell a regression (exit code 1) from noise.")
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="differences up to this never count (default: 0.05)",
    )
    chosen = parser.parse_arguments(arguments)
    from fmnist_bench.compare import compare, read_run

    lines, regressed = compare(read_run(chosen.old), read_run(chosen.new), chosen.tolerance)
    print("\n".join(lines))
    return int(regressed)


def main() -> None:
    """Entry point."""
    sys.exit(run_argparse(bench))
