"""Reference of the device's commands for docs/cli.md, from their parsers and the JSON Schema of an answer."""

import argparse
import json

from fmnist_bench.cli import build_parser as build_bench_parser
from fmnist_runtime.cli.parsers import BUILDERS, build_parser
from fmnist_runtime.drift.cli import build_parser as build_drift_parser
from fmnist_runtime.options import CommandParser
from fmnist_runtime.serve.cli import build_parser as build_serve_parser
from fmnist_runtime.serve.openapi import describe
from fmnist_runtime.serve.settings import Settings

__all__ = ["answer_schema", "command_reference"]


def command_reference() -> str:
    """Returns a section for each command: its description, and a table of its arguments and options."""
    parsers = [
        build_parser(),
        *(build() for build in BUILDERS.values()),
        build_serve_parser(),
        build_drift_parser(),
        build_bench_parser(),
    ]
    return "\n".join(map(_section, parsers))


def answer_schema() -> str:
    """Returns the JSON Schema (draft 2020-12) of one line of ``fmnist-infer --json``, as a code block."""
    schemas = describe([], Settings())["components"]["schemas"]
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Answer",
        "$defs": {name: schemas[name] for name in ("Answer", "Top", "Probability")},
    }
    text = json.dumps(document, indent=2).replace("#/components/schemas/", "#/$defs/")
    return f"```json\n{text}\n```"


def _section(parser: CommandParser) -> str:
    rows = [_row(action) for action in parser._actions if "--help" not in action.option_strings]
    head = f"### {parser.prog}\n\n{parser.description}\n\n| argument | meaning |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _row(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction) else _value(action)
    names = ", ".join(f"`{name}{value and f' {value}'}`" for name in action.option_strings) or f"`{value}`"
    return f"| {names} | {(action.help or '').replace('|', '/')} |"


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return action.dest.upper()
