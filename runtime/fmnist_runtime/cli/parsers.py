"""Parsers of ``fmnist-infer`` and its subcommands. Imports no module that is slow to import, so that ``--help`` is fast."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fmnist_runtime.cpus import MOST_PROCESSES
from fmnist_runtime.options import (
    CommandParser,
    add_careful_option,
    add_model_options,
    positive_int,
    positive_int_up_to,
    positive_number,
)

__all__ = ["BUILDERS", "COMMANDS", "SHELLS", "build_parser"]

COMMANDS = {
    "web": "write a page that classifies in the browser",
    "selftest": "check that this device computes the logits stored in the model file",
    "doctor": "print the properties of this device and the options that suit it",
    "models": "list the embedded models: size, accuracy, and what each is good for",
    "ray": "classify a folder or object store with many workers, on Ray",
    "completion": "print a completion script for a shell",
}
"""Subcommands and their help. A file of such a name is classified as ./NAME."""
SHELLS = ("bash", "zsh", "fish")
"""Shells with a completion script."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-infer`` without a subcommand."""
    commands = "\n".join(f"  {name:<12} {text}" for name, text in COMMANDS.items())
    parser = CommandParser(
        "fmnist-infer",
        "Classify photos of clothing; most pictures that show no garment are rejected.",
        f"commands:\n{commands}\n"
        "fmnist-infer COMMAND --help lists a command's options. A file that has the name of a command: ./NAME.",
        commands=COMMANDS,
    )
    _add_inputs(parser)
    add_model_options(parser)
    add = parser.add_argument
    add("--top-k", type=positive_int, default=3, metavar="N", help="number of classes to print (default: 3)")
    add(
        "--reject",
        action=argparse.BooleanOptionalAction,
        default=True,
        help='answer "I don\'t know" to pictures unlike any garment (default: yes)',
    )
    parser.add_environment_option(
        "--workers",
        env="FMNIST_WORKERS",
        type=positive_int_up_to(MOST_PROCESSES),
        metavar="N",
        help="processes for many pictures (default: one for each CPU, from 500 pictures on); 1: one thread",
    )
    _add_outputs(parser)
    return parser


def _add_inputs(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "photos",
        metavar="PHOTO",
        nargs="*",
        help="picture files, folders (searched through), quoted patterns such as '*.jpg', or - for standard input",
    )
    add("--files-from", metavar="FILE", help="read more paths from this file, one a line; - for standard input")
    add("--null", action="store_true", help="paths of --files-from end with a NUL byte, as find -print0 writes them")
    add(
        "--watch",
        type=Path,
        metavar="DIR",
        help="afterwards, classify each picture that is added to this folder, until interrupted",
    )
    add(
        "--interval",
        type=positive_number,
        default=0.5,
        metavar="S",
        help="seconds between two scans of the watched folder; a file unchanged for so long is complete (default: 0.5)",
    )


def _add_outputs(parser: CommandParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object for each picture, one a line")
    form.add_argument("--csv", action="store_true", help="print comma-separated values, with a header")
    parser.add_argument(
        "--show", type=Path, metavar="DIR", help="write each photo beside the network's input into this folder"
    )
    messages = parser.add_mutually_exclusive_group()
    messages.add_argument("-q", "--quiet", action="store_true", help="print neither error messages nor progress")
    messages.add_argument(
        "-v", "--verbose", action="store_true", help="print the model and a summary on standard error"
    )


def _build_web() -> CommandParser:
    parser = CommandParser(
        "fmnist-infer web",
        "Write a page that classifies in the browser, with one model. Other options than --model and --sha256 only load the model "
        "for a check; the page does not depend on them.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder for the page; made where there is none")
    add_model_options(parser)
    return parser


def _build_selftest() -> CommandParser:
    parser = CommandParser(
        "fmnist-infer selftest",
        "Compare this device's logits with those stored in the model file. Exit code 1 where they differ.",
    )
    add_model_options(parser)
    _add_json(parser)
    return parser


def _build_doctor() -> CommandParser:
    parser = CommandParser("fmnist-infer doctor", "Print the properties of this device and the options that suit it.")
    _add_json(parser)
    return parser


def _build_models() -> CommandParser:
    parser = CommandParser("fmnist-infer models", "List the embedded models.")
    _add_json(parser)
    return parser


def _build_ray() -> CommandParser:
    parser = CommandParser("fmnist-infer ray", "Classify a folder or object store with many workers, on Ray.")
    add = parser.add_argument
    add("source", metavar="PICTURES", help="folder or URL of the images")
    add("output", metavar="ANSWERS", help="new folder for the answers, as Parquet files")
    add(
        "--workers",
        type=positive_int_up_to(MOST_PROCESSES),
        default=2,
        metavar="N",
        help="processes with a classifier each (default: 2)",
    )
    parser.add_environment_option(
        "--model",
        env="FMNIST_MODEL",
        help="model file or folder, readable on every machine, or embedded model by name (default: improved)",
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
