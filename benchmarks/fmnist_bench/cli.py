"""The command ``fmnist-bench``, and its subcommands ``compare`` and ``completion``."""

import contextlib
import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_runtime.cli.parsers import SHELLS
from fmnist_runtime.console import printable, run_argparse
from fmnist_runtime.errors import ConfigError
from fmnist_runtime.options import CommandParser, number_between, path_text

if TYPE_CHECKING:
    import numpy as np

__all__ = ["bench", "build_parser", "main"]

_MAX_TOLERANCE = 100
"""Largest tolerance of a comparison: no machine's noise makes a run a hundred times slower."""


def build_parser() -> CommandParser:
    """Builds the parser of ``fmnist-bench``."""
    parser = CommandParser(
        prog="fmnist-bench",
        description="Measure the latency of each installed runtime, on the same weights, in interleaved rounds.",
        epilog="commands:\n"
        "  compare      compare two runs, OLD.json and NEW.json; the exit code is 1 after a regression\n"
        "  completion   print a completion script for a shell\n"
        "fmnist-bench COMMAND --help lists a command's options.",
        commands=_RUNNERS,
    )
    _add_contestants(parser)
    add = parser.add_argument
    add("--quick", action="store_true", help="measure only onnxruntime and PyTorch, in less than a minute")
    add("--json", action="store_true", help="print all figures as JSON")
    add("--picture", type=Path, metavar="FILE", help="write a chart of accuracy and latency to this file")
    return parser


def _add_contestants(parser: CommandParser) -> None:
    """Adds the options that choose files and contestants."""
    add = parser.add_argument
    add("--model", default="improved", help="int8 model: file, folder, or name of an embedded one (default: improved)")
    add(
        "--float",
        dest="float_model",
        type=path_text,
        metavar="FILE",
        help="float model of the same weights (default: model.onnx in the folder of --model)",
    )
    add(
        "--checkpoint",
        type=path_text,
        metavar="FOLDER",
        help="PyTorch checkpoint of the same weights (default: the folder of --model, or the run around it)",
    )
    add(
        "--only",
        action="append",
        metavar="TEXT",
        help="measure the contestants whose names contain this text; may be repeated",
    )
    add(
        "--contestant",
        action="append",
        default=[],
        metavar="NAME=MODULE:OBJECT",
        help="add a contestant of your own; may be repeated",
    )


def bench(args: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        args: Command-line arguments; by default those of the process.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments and arguments[0] in _RUNNERS:
        return _RUNNERS[arguments[0]](arguments[1:])
    chosen = build_parser().parse_arguments(arguments)
    from fmnist_bench.display import terminal_table
    from fmnist_bench.report import check_chart, format_table, write_chart

    if chosen.picture:
        check_chart(chosen.picture)
    document = _measure(chosen)
    if chosen.json:
        print(json.dumps(document, indent=1))
    else:
        print(terminal_table(document, sys.stdout) if sys.stdout.isatty() else format_table(document))
    if chosen.picture:
        write_chart(document, chosen.picture)
    return 0


def _measure(chosen: Namespace) -> dict[str, Any]:
    from fmnist_bench.backends.registry import REFERENCE
    from fmnist_bench.display import LiveTable
    from fmnist_bench.files import find_files
    from fmnist_bench.measure import Measurement, Plan
    from fmnist_bench.report import score_answers
    from fmnist_runtime.cpus import available_cpus
    from fmnist_runtime.machine import describe_machine
    from fmnist_train.files import temporary_folder

    files = find_files(chosen.model, chosen.float_model, chosen.checkpoint)
    plan = Plan(threads=tuple(sorted({1, available_cpus()})))
    if chosen.quick:
        plan = Plan(rounds=4, calls=200, seconds=0, paced=3, starts=2, batches=(1, 32))
    images, labels = _test_images(files.int8, quick=chosen.quick)
    table = LiveTable()
    with temporary_folder() as folder, contextlib.closing(table):
        results = Measurement(_contestants(chosen), plan, folder, table.update).run(files, images)
    score_answers(results, REFERENCE, labels)
    model = hashlib.sha256(Path(files.int8).read_bytes()).hexdigest()
    return {"machine": describe_machine(), "model": model, "test_images": len(labels or []), "results": results}


def _contestants(chosen: Namespace) -> dict[str, str]:
    from fmnist_bench.backends.registry import CONTESTANTS

    found = dict(CONTESTANTS)
    if chosen.quick:
        found = {name: found[name] for name in ("onnxruntime int8", "onnxruntime float", "PyTorch eager")}
    for text in chosen.contestant:
        name, _, entry_point = text.partition("=")
        if not name or ":" not in entry_point:
            raise ConfigError(f"--contestant '{text}': expected NAME=MODULE:OBJECT")
        found[name] = entry_point
    if chosen.only:
        found = {name: entry_point for name, entry_point in found.items() if any(text in name for text in chosen.only)}
        if not found:
            known = ", ".join(CONTESTANTS)
            raise ConfigError(f"no contestant's name contains {' or '.join(chosen.only)}; known: {known}")
    return found


def _test_images(model: str, *, quick: bool) -> tuple["np.ndarray", list[int] | None]:
    """Loads the images whose classes are compared before any timing.

    Returns:
        The test set of Fashion-MNIST and its labels, if the model has these classes, and the extra "train" and the data set
        are installed. Otherwise the self-test images of the model, without labels: agreement on random images would be less
        meaningful.
    """
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.selftest import unpack_golden
    from fmnist_runtime.spec import DATASET_LABELS

    classifier = Classifier.load(model)
    if classifier.labels != DATASET_LABELS:
        print("note: no accuracy, because the classes are not those of Fashion-MNIST", file=sys.stderr)
    elif not quick:
        try:
            from fmnist_train.data.sources import find_dataset

            test = find_dataset().load("test")
            return test.images[:, None], test.labels.tolist()
        except ModuleNotFoundError:
            print("note: no accuracy, because the extra train is not installed", file=sys.stderr)
        except Exception as error:  # without the data set, only the accuracy is missing
            print(f"note: no test set, so no accuracy ({error})", file=sys.stderr)
    return unpack_golden(classifier.metadata.document.get("selftest"), len(classifier.labels)).images, None


def _build_compare() -> CommandParser:
    parser = CommandParser(
        "fmnist-bench compare", "Compare two runs. The exit code is 1 if there is a regression beyond noise."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json", help="earlier run: output of fmnist-bench --json")
    parser.add_argument("new", type=Path, metavar="NEW.json", help="run to compare with it")
    parser.add_argument(
        "--tolerance",
        type=number_between(0, _MAX_TOLERANCE),
        default=0.05,
        metavar="SHARE",
        help="relative difference up to which a change is noise (default: 0.05)",
    )
    return parser


def _compare(arguments: Sequence[str]) -> int:
    chosen = _build_compare().parse_arguments(arguments)
    from fmnist_bench.regression import compare_runs, read_run

    lines, regressed = compare_runs(read_run(chosen.old), read_run(chosen.new), chosen.tolerance)
    print("\n".join(map(printable, lines)))
    return int(regressed)


def _build_completion() -> CommandParser:
    parser = CommandParser(
        "fmnist-bench completion",
        "Print a completion script for fmnist-bench.",
        'bash: eval "$(fmnist-bench completion bash)" in ~/.bashrc. zsh: the same with zsh in ~/.zshrc, after compinit. '
        "fish: fmnist-bench completion fish > ~/.config/fish/completions/fmnist-bench.fish.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))
    return parser


def _completion(arguments: Sequence[str]) -> int:
    chosen = _build_completion().parse_arguments(arguments)
    from fmnist_runtime.cli.completion import Command, completion_script

    subcommands = {
        "compare": ("compare two runs", _build_compare()),
        "completion": ("print a completion script for a shell", _build_completion()),
    }
    print(completion_script([Command(build_parser(), subcommands)], chosen.shell))
    return 0


_RUNNERS: dict[str, Callable[[Sequence[str]], int]] = {"compare": _compare, "completion": _completion}
"""Functions that run each subcommand on its arguments and return the exit code."""


def main() -> None:
    """Entry point of ``fmnist-bench``."""
    sys.exit(run_argparse(bench))
