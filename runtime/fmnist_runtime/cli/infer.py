"""The command ``fmnist-infer``: parses, calls, prints. Heavy modules are imported on use, so that ``--help`` is instant."""

import argparse
import gc
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

from fmnist_runtime.batching.cpus import MOST_PROCESSES
from fmnist_runtime.cli.console import run_argparse
from fmnist_runtime.cli.options import CommandParser, add_model_options, positive_int, positive_int_up_to

if TYPE_CHECKING:
    from fmnist_runtime.prediction import Answer

__all__ = ["COMMANDS", "build_parser", "infer", "main"]

COMMANDS = {
    "web": "write a page that classifies in the browser",
    "selftest": "check that this device computes the logits stored in the model file",
    "doctor": "print the properties of this device and the options that suit it",
    "models": "list the embedded models: size, accuracy, and what each is good for",
    "ray": "classify a folder or object store with many workers, on Ray",
}
"""Subcommands and their help. A file of such a name is classified as ./NAME."""

_EARLIER_SPELLINGS = {f"--{name}": name for name in ("web", "selftest", "doctor")}
"""Options of version 0.1 that became subcommands."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-infer`` without a subcommand."""
    commands = ", ".join(f"{name} ({text})" for name, text in COMMANDS.items())
    parser = CommandParser(
        "fmnist-infer",
        "Classify photos of clothing; photos that show no known garment are rejected.",
        f"Commands: {commands}. fmnist-infer COMMAND --help lists a command's options. "
        "A file that has the name of a command: ./NAME.",
        commands=COMMANDS,
    )
    add = parser.add_argument
    add("photos", metavar="PHOTO", nargs="*", help="picture files, folders (searched through), or - for standard input")
    add_model_options(parser)
    add("--top-k", type=positive_int, default=3, metavar="N", help="number of classes to print (default: 3)")
    add("--json", action="store_true", help="print one JSON object for each picture, one a line")
    add(
        "--reject",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="answer I don't know to pictures unlike any garment (default: yes)",
    )
    add("--show", type=Path, metavar="DIR", help="write each photo beside the network's input into this folder")
    parser.add_environment_option(
        "--workers",
        env="FMNIST_WORKERS",
        type=positive_int_up_to(MOST_PROCESSES),
        metavar="N",
        help="processes for many pictures (default: one for each CPU, from 500 pictures on); 1: one thread",
    )
    return parser


def infer(args: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code.

    Args:
        args: Arguments; None: those of the process.
    """
    name, arguments = _split_command(list(sys.argv[1:] if args is None else args))
    if name is not None:
        from fmnist_runtime.cli.commands import RUNNERS

        return RUNNERS[name](arguments)
    parser = build_parser()
    chosen = parser.parse_arguments(arguments)
    if chosen.photos.count("-") > 1:
        parser.error("standard input can be read only once; give one -")
    if not chosen.photos:
        parser.error("name at least one picture or folder, or - for standard input")
    return _classify(chosen)


def _split_command(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Returns the subcommand, if any, and its arguments; accepts ``--web DIR`` and the like at any place."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        option, equals, value = argument.partition("=")
        if option in _EARLIER_SPELLINGS:
            rest = [*([value] if equals else []), *arguments[:position], *arguments[position + 1 :]]
            return _EARLIER_SPELLINGS[option], rest
    return None, arguments


def _classify(chosen: argparse.Namespace) -> int:
    from contextlib import closing

    from fmnist_runtime.cli.formatting import print_predictions

    progress = None
    if sys.stderr.isatty() and not sys.stdout.isatty():  # on one terminal, answers would break the bar
        from fmnist_runtime.cli.progress import Progress
        from fmnist_runtime.image_io.sources import count_pictures

        progress = Progress(count_pictures(chosen.photos))
    with closing(_answers(chosen)) as answers:
        if not gc.isenabled():  # objects of the imports live until the end
            gc.freeze()
            gc.enable()
        return print_predictions(answers, as_json=chosen.json, progress=progress)


def _answers(chosen: argparse.Namespace) -> "Generator[Answer, None, None]":
    from fmnist_runtime.batching.batch import choose_processes, classify_sources, comparison_writer
    from fmnist_runtime.image_io.sources import expand

    if chosen.show:
        from fmnist_runtime.files import make_folder

        make_folder(chosen.show)
    options = {"top_k": chosen.top_k, "reject": chosen.reject}
    one_process = "-" in chosen.photos or _is_pipe(chosen.model)  # neither can be read by several
    processes, sources = choose_processes(expand(chosen.photos), 1 if one_process else chosen.workers)
    if processes > 1:
        from fmnist_runtime.batching.worker_pool import classify_in_processes

        options["show"] = chosen.show and str(chosen.show)
        return classify_in_processes(sources, processes, load=_loading(chosen), options=options)
    from functools import partial

    from fmnist_runtime.classifier import Classifier

    classifier = Classifier.load(**_loading(chosen))
    classify = partial(classifier.results, **options, on_input=comparison_writer(chosen.show))
    return classify_sources(classify, sources, threads=1 if chosen.workers == 1 else None)


def _is_pipe(model: str | None) -> bool:
    """Returns whether the model is a pipe, which only one process can read."""
    try:
        return model is not None and not S_ISREG(mode := os.stat(model).st_mode) and not S_ISDIR(mode)  # noqa: PTH116
    except (OSError, ValueError):  # the name of an embedded model, or an error that loading reports
        return False


def _loading(chosen: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of ``Classifier.load``."""
    names = ("threads", "provider", "sha256", "careful")
    return {"path": chosen.model} | {name: getattr(chosen, name) for name in names}


def main() -> None:
    """Entry point."""
    # The matrices here are tiny; numpy's linear algebra would start a thread for each CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # imports create no garbage, and collections during them take time
    sys.exit(run_argparse(infer))
