"""Subcommands of ``fmnist-infer``: each parses its arguments, calls one function, prints, and returns the exit code."""

import json
from argparse import Namespace
from collections.abc import Callable, Sequence

from fmnist_runtime.cli.parsers import BUILDERS, COMMANDS, build_parser
from fmnist_runtime.options import model_arguments

__all__ = ["RUNNERS"]


def _web(args: Sequence[str]) -> int:
    chosen = BUILDERS["web"]().parse_arguments(args)
    from shlex import quote

    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.model_file.store import find_model, prefix_model_errors, read_model
    from fmnist_runtime.webpage import write_page

    file = find_model(chosen.model)
    data = read_model(file, chosen.sha256)
    with prefix_model_errors(file):
        Classifier.from_bytes(data, threads=chosen.threads, provider=chosen.provider)  # raises where a model cannot run
        size = write_page(data, chosen.folder)
    print(
        f"wrote {chosen.folder}: {size / 1e6:.1f} MB; serve it with any web server, "
        f"for example: python -m http.server -d {quote(str(chosen.folder))}"
    )
    return 0


def _selftest(args: Sequence[str]) -> int:
    chosen = BUILDERS["selftest"]().parse_arguments(args)
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.cli.formatting import print_selftest
    from fmnist_runtime.model_file.store import find_model, prefix_model_errors
    from fmnist_runtime.selftest import selftest

    classifier = Classifier.load(**model_arguments(chosen))
    with prefix_model_errors(find_model(chosen.model)):
        result = selftest(classifier)
    return print_selftest(result, as_json=chosen.json)


def _doctor(args: Sequence[str]) -> int:
    chosen = BUILDERS["doctor"]().parse_arguments(args)
    from fmnist_runtime.cli.doctor import report

    print(report(as_json=chosen.json))
    return 0


def _models(args: Sequence[str]) -> int:
    chosen = BUILDERS["models"]().parse_arguments(args)
    from fmnist_runtime.cli.models import describe_models, format_models

    described = describe_models()
    print(json.dumps([model._asdict() for model in described]) if chosen.json else format_models(described))
    return 0


def _ray(args: Sequence[str]) -> int:
    chosen = BUILDERS["ray"]().parse_arguments(args)
    from fmnist_runtime.console import exit_code_of

    return exit_code_of(lambda: _classify_with_ray(chosen), extra="ray")


def _classify_with_ray(chosen: Namespace) -> None:
    from fmnist_runtime.workers.ray_batch import classify_folder

    settings = {"model": chosen.model, "careful": chosen.careful}
    classify_folder(chosen.source, chosen.output, workers=chosen.workers, settings=settings)


def _completion(args: Sequence[str]) -> int:
    chosen = BUILDERS["completion"]().parse_arguments(args)
    from fmnist_runtime.cli.completion import Command, completion_script
    from fmnist_runtime.drift.cli import build_parser as build_drift_parser
    from fmnist_runtime.serve.cli import build_parser as build_serve_parser

    subcommands = {name: (COMMANDS[name], build()) for name, build in BUILDERS.items()}
    commands = [Command(build_parser(), subcommands), Command(build_serve_parser()), Command(build_drift_parser())]
    print(completion_script(commands, chosen.shell))
    return 0


RUNNERS: dict[str, Callable[[Sequence[str]], int]] = {
    "web": _web,
    "selftest": _selftest,
    "doctor": _doctor,
    "models": _models,
    "ray": _ray,
    "completion": _completion,
}
"""Functions that run each subcommand on its arguments and return the exit code."""
