"""Subcommands of ``fmnist-infer``: each parses its arguments, calls one function, prints, and returns the exit code."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_runtime.cli.options import CommandParser, add_model_options

__all__ = ["BUILDERS", "RUNNERS"]


def _build_web() -> CommandParser:
    parser = CommandParser("fmnist-infer web", "Write a page that classifies in the browser, with one model.")
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
    from fmnist_runtime.batching.cpus import MOST_PROCESSES
    from fmnist_runtime.cli.options import positive_int_up_to

    parser = CommandParser("fmnist-infer ray", "Classify a folder or object store with many workers, on Ray.")
    add = parser.add_argument
    add("source", metavar="FOLDER_OR_URL", help="folder or URL prefix of the pictures")
    add("output", metavar="FOLDER_OR_URL", help="new folder for the answers, as Parquet")
    add(
        "--workers",
        type=positive_int_up_to(MOST_PROCESSES),
        default=2,
        metavar="N",
        help="processes with a classifier each (default: 2)",
    )
    add("--model", help="model file or folder, readable on every machine, or embedded model by name")
    add("--careful", action="store_true", help="average four views: slower, rejects more images without a garment")
    return parser


BUILDERS = {
    "web": _build_web,
    "selftest": _build_selftest,
    "doctor": _build_doctor,
    "models": _build_models,
    "ray": _build_ray,
}
"""Functions that return the parser of each subcommand."""


def web(args: Sequence[str]) -> int:
    """``fmnist-infer web DIR``."""
    chosen = _build_web().parse_arguments(args)
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.cli.webpage import write_page
    from fmnist_runtime.model_file.store import find_model, read_model

    Classifier.load(**_loading(chosen))  # refuses a model that the page could not run either
    size = write_page(read_model(find_model(chosen.model), chosen.sha256), chosen.folder)
    print(
        f"wrote {chosen.folder}: {size / 1e6:.1f} MB; serve it with any web server, "
        f"for example: python -m http.server -d {chosen.folder}"
    )
    return 0


def selftest(args: Sequence[str]) -> int:
    """``fmnist-infer selftest``."""
    chosen = _build_selftest().parse_arguments(args)
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.cli.formatting import print_selftest
    from fmnist_runtime.selftest import selftest as replay

    return print_selftest(replay(Classifier.load(**_loading(chosen))), as_json=chosen.json)


def doctor(args: Sequence[str]) -> int:
    """``fmnist-infer doctor``."""
    chosen = _build_doctor().parse_arguments(args)
    from fmnist_runtime.cli.doctor import report

    print(report(as_json=chosen.json))
    return 0


def models(args: Sequence[str]) -> int:
    """``fmnist-infer models``."""
    chosen = _build_models().parse_arguments(args)
    from fmnist_runtime.cli.models import describe_models, format_models

    described = describe_models()
    print(json.dumps([model._asdict() for model in described]) if chosen.json else format_models(described))
    return 0


def ray(args: Sequence[str]) -> int:
    """``fmnist-infer ray FOLDER_OR_URL FOLDER_OR_URL``."""
    chosen = _build_ray().parse_arguments(args)
    from fmnist_runtime.cli.console import run_argparse

    return run_argparse(lambda _: _classify_on_ray(chosen), extra="ray")


def _classify_on_ray(chosen: Namespace) -> int:
    from fmnist_runtime.batching.ray_batch import classify_folder

    settings = {"model": chosen.model, "careful": chosen.careful}
    classify_folder(chosen.source, chosen.output, workers=chosen.workers, settings=settings)
    return 0


RUNNERS = {"web": web, "selftest": selftest, "doctor": doctor, "models": models, "ray": ray}
"""Functions that run each subcommand on its arguments and return the exit code."""


def _add_json(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _loading(chosen: Namespace) -> dict[str, Any]:
    """Returns the arguments of ``Classifier.load``."""
    names = ("threads", "provider", "sha256", "careful")
    return {"path": chosen.model} | {name: getattr(chosen, name) for name in names}
