"""Parsers of ``fmnist-infer`` and its subcommands. Imports no module that is slow to import, so that ``--help`` is fast."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_runtime.cpus import MAX_PROCESSES
from fmnist_runtime.options import (
    CommandParser,
    add_careful_option,
    add_model_options,
    path_text,
    positive_number,
    whole_number,
)

__all__ = ["BUILDERS", "COMMANDS", "SHELLS", "build_parser"]

COMMANDS = {
    "web": "write a page that classifies in the browser",
    "selftest": "check that this device computes the logits stored in the model file",
    "doctor": "print the properties of this device and the recommended options",
    "models": "list the embedded models: size, accuracy, and when to choose each",
    "ray": "classify a folder or object store with many workers of a Ray cluster",
    "completion": "print a completion script for a shell",
}
"""Subcommands and their help. A file with the name of a subcommand is given as ./NAME."""
SHELLS = ("bash", "zsh", "fish")
"""Shells with a completion script."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-infer`` without a subcommand."""
    commands = "\n".join(f"  {name:<12} {text}" for name, text in COMMANDS.items())
    parser = CommandParser(
        "fmnist-infer",
        "Classify photos of clothing. Most images without a garment are rejected.",
        f"commands:\n{commands}\n"
        "fmnist-infer COMMAND --help lists a command's options. Write ./NAME for a file that has the name of a command.",
        commands=COMMANDS,
    )
    _add_inputs(parser)
    add_model_options(parser)
    add = parser.add_argument
    add("--top-k", type=whole_number(1), default=3, metavar="N", help="number of classes to print (default: 3)")
    add(
        "--reject",
        action=argparse.BooleanOptionalAction,
        default=True,
        help='answer "I don\'t know" for images unlike any garment (default: yes)',
    )
    parser.add_environment_option(
        "--workers",
        env="FMNIST_WORKERS",
        type=whole_number(1, MAX_PROCESSES),
        metavar="N",
        help="number of processes (default: one for each CPU, if there are at least 500 images); 1 uses a single thread",
    )
    _add_outputs(parser)
    return parser


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which would replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice; give it once")
        setattr(namespace, self.dest, values)


def _add_inputs(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "photos",
        metavar="PHOTO",
        nargs="*",
        help="image files, folders with all folders below them, quoted patterns such as '*.jpg', or - for standard input",
    )
    add(
        "--files-from",
        action=_Once,
        type=path_text,
        metavar="FILE",
        help="read more paths from this file, one a line; - reads standard input",
    )
    add(
        "--null",
        action="store_true",
        help="expect a NUL byte after each path of --files-from, as find -print0 writes it",
    )
    add(
        "--watch",
        action=_Once,
        type=Path,
        metavar="DIR",
        help="then classify each image that is added to this folder, until interrupted",
    )
    add(
        "--interval",
        type=positive_number,
        metavar="S",
        help="seconds between two scans of the watched folder; a file is complete after as long without change (default: 0.5)",
    )


def _add_outputs(parser: CommandParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one line with a JSON object for each image")
    form.add_argument("--csv", action="store_true", help="print comma-separated values with a header")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="DIR",
        help="write each photo beside the network's input into this folder; files of other programs are not replaced",
    )
    messages = parser.add_mutually_exclusive_group()
    messages.add_argument("-q", "--quiet", action="store_true", help="print neither error messages nor progress")
    messages.add_argument(
        "-v", "--verbose", action="store_true", help="print the model and a summary on standard error"
    )


def _build_web() -> CommandParser:
    parser = CommandParser(
        "fmnist-infer web",
        "Write a page that classifies in the browser, with one model. Before that, the model is loaded for a check; "
        "--threads, --provider and --careful affect only this check.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="folder for the page; it is created if it does not exist"
    )
    add_model_options(parser)
    return parser


def _build_selftest() -> CommandParser:
    parser = CommandParser(
        "fmnist-infer selftest",
        "Compare this device's logits with those stored in the model file. The exit code is 1 if they differ.",
    )
    add_model_options(parser)
    _add_json(parser)
    return parser


def _build_doctor() -> CommandParser:
    parser = CommandParser("fmnist-infer doctor", "Print the properties of this device and the recommended options.")
    _add_json(parser)
    return parser


def _build_models() -> CommandParser:
    parser = CommandParser("fmnist-infer models", "List the embedded models.")
    _add_json(parser)
    return parser


def _build_ray() -> CommandParser:
    parser = CommandParser("fmnist-infer ray", "Classify a folder or object store with many workers of a Ray cluster.")
    add = parser.add_argument
    add("source", type=path_text, metavar="PICTURES", help="folder or URL of the images")
    add("output", type=path_text, metavar="ANSWERS", help="new folder for the answers, as Parquet files")
    add(
        "--workers",
        type=whole_number(1, MAX_PROCESSES),
        default=2,
        metavar="N",
        help="number of processes, each with its own classifier (default: 2)",
    )
    parser.add_environment_option(
        "--model",
        env="FMNIST_MODEL",
        help="model file or folder that every machine can read, or name of an embedded model (default: improved)",
    )
    add_careful_option(parser)
    return parser


def _build_completion() -> CommandParser:
    parser = CommandParser(
        "fmnist-infer completion",
        "Print a completion script for fmnist-infer, fmnist-serve and fmnist-drift.",
        'bash: eval "$(fmnist-infer completion bash)" in ~/.bashrc. zsh: the same with zsh in ~/.zshrc, after compinit. '
        "fish: fmnist-infer completion fish > ~/.config/fish/completions/fmnist-infer.fish.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))
    return parser


BUILDERS: dict[str, Callable[[], CommandParser]] = {
    "web": _build_web,
    "selftest": _build_selftest,
    "doctor": _build_doctor,
    "models": _build_models,
    "ray": _build_ray,
    "completion": _build_completion,
}
"""Functions that return the parser of each subcommand."""


def _add_json(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
