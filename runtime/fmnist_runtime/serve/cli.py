"""The command ``fmnist-serve``: parses the options, loads the model, and serves until a signal."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_runtime.console import run_argparse
from fmnist_runtime.cpus import MOST_PROCESSES
from fmnist_runtime.options import CommandParser, add_careful_option, positive_int_up_to

__all__ = ["build_parser", "main", "serve"]


_MOST = 1_000_000
"""Largest value of the options that have no other limit: clocks and counters of libraries fail far above."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-serve``."""
    parser = CommandParser("fmnist-serve", "Classify photos over HTTP: POST /classify; /openapi.json describes it.")
    _add_service(parser)
    _add_limits(parser)
    _add_operation(parser)
    return parser


def _add_service(parser: CommandParser) -> None:
    """Adds the model, the address and the processes."""
    add_environment = parser.add_environment_option
    add_environment(
        "--model", env="FMNIST_MODEL", help="model file, folder, or embedded model by name (default: improved)"
    )
    add_environment(
        "--host",
        env="FMNIST_HOST",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for every network (default: 127.0.0.1)",
    )
    add_environment(
        "--port",
        env="FMNIST_PORT",
        type=_port,
        default=8000,
        metavar="N",
        help="port; 0 picks a free one (default: 8000)",
    )
    add_environment(
        "--token-file", env="FMNIST_TOKEN_FILE", type=Path, metavar="FILE", help="file with the required bearer token"
    )
    add_careful_option(parser)
    add_environment(
        "--workers",
        env="FMNIST_WORKERS",
        type=positive_int_up_to(MOST_PROCESSES),
        metavar="N",
        help="processes that decode and classify (default: one for each CPU); with 1, the process that serves HTTP does so",
    )


def _add_operation(parser: CommandParser) -> None:
    """Adds the end of the service, and the log."""
    add = parser.add_argument
    add(
        "--drain-seconds",
        type=_count,
        default=0,
        metavar="S",
        help="seconds from SIGTERM until the end of listening; meanwhile /readyz answers 503 (default: 0)",
    )
    add(
        "--log-requests",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="log each request as a JSON line on standard error (default: yes)",
    )


def _add_limits(parser: CommandParser) -> None:
    """Adds the limits of requests."""
    add = parser.add_argument
    mebibytes, files = positive_int_up_to(256), positive_int_up_to(1024)
    add("--max-body", type=mebibytes, default=16, metavar="MIB", help="size of a request; else 413 (default: 16)")
    add("--max-files", type=files, default=32, metavar="N", help="pictures in a request; else 413 (default: 32)")
    add(
        "--max-pixels",
        type=positive_int_up_to(_MOST),
        default=50,
        metavar="MILLIONS",
        help="pixels of a picture; else 422 (default: 50)",
    )
    add(
        "--max-in-flight",
        type=positive_int_up_to(_MOST),
        default=256,
        metavar="N",
        help="requests; else 503 (default: 256)",
    )
    add(
        "--body-seconds",
        type=positive_int_up_to(_MOST),
        default=20,
        metavar="S",
        help="time for a body; else 408 (default: 20)",
    )
    add(
        "--answer-seconds",
        type=positive_int_up_to(_MOST),
        default=120,
        metavar="S",
        help="time for an answer, else 503; a worker's call may take a third of it (default: 120)",
    )


def serve(args: Sequence[str] | None = None) -> int:
    """Runs the command until a signal ends it, and returns its exit code.

    Args:
        args: Arguments; None: those of the process.
    """
    chosen = build_parser().parse_arguments(args)
    from fmnist_runtime.cpus import available_cpus
    from fmnist_runtime.serve.build import build_service
    from fmnist_runtime.serve.settings import RequestLimits, Settings, read_token

    limits = RequestLimits(
        body_bytes=chosen.max_body << 20,
        files=chosen.max_files,
        pixels=chosen.max_pixels * 1_000_000,
        in_flight=chosen.max_in_flight,
        body_seconds=chosen.body_seconds,
        answer_seconds=chosen.answer_seconds,
    )
    settings = Settings(
        token=read_token(chosen.token_file) if chosen.token_file else None,
        workers=chosen.workers or available_cpus(),
        drain_seconds=chosen.drain_seconds,
        log_requests=chosen.log_requests,
        limits=limits,
    )
    with build_service(chosen.model, settings, careful=chosen.careful) as service:
        from fmnist_runtime.serve.server import listen, run

        run(service, listen(chosen.host, chosen.port))
    return 0


def _count(text: str) -> int:
    return 0 if text.isdecimal() and not text.strip("0") else positive_int_up_to(_MOST)(text)


def _port(text: str) -> int:
    if _count(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: the largest is 65535")
    return int(text)


def main() -> None:
    """Entry point."""
    # The matrices here are tiny; numpy's linear algebra would start a thread for each CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run_argparse(serve, extra="serve"))
