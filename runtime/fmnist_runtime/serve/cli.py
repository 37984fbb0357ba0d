"""The command ``fmnist-serve``: parses the options, loads the model, and serves until a signal."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_runtime.console import run_argparse, use_one_blas_thread
from fmnist_runtime.cpus import MAX_PROCESSES
from fmnist_runtime.options import CommandParser, add_careful_option, whole_number

__all__ = ["build_parser", "main", "serve"]


_MAX_VALUE = 1_000_000
"""Largest value of options without another limit: clocks and counters of libraries fail only far above it."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-serve``."""
    parser = CommandParser(
        "fmnist-serve",
        "Classify photos over HTTP: clients send them to POST /classify. /openapi.json describes the API.",
    )
    _add_service(parser)
    _add_limits(parser)
    _add_operation(parser)
    return parser


def _add_service(parser: CommandParser) -> None:
    """Adds the options of the model, the address and the processes."""
    add_environment = parser.add_environment_option
    add_environment(
        "--model", env="FMNIST_MODEL", help="model file, folder, or name of an embedded model (default: improved)"
    )
    add_environment(
        "--host",
        env="FMNIST_HOST",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 listens on all networks (default: 127.0.0.1)",
    )
    add_environment(
        "--port",
        env="FMNIST_PORT",
        type=whole_number(0, 65535),
        default=8000,
        metavar="N",
        help="port to listen on; 0 chooses a free one (default: 8000)",
    )
    add_environment(
        "--token-file",
        env="FMNIST_TOKEN_FILE",
        type=Path,
        metavar="FILE",
        help="file with the bearer token that clients must send (default: no token is required)",
    )
    add_careful_option(parser)
    add_environment(
        "--workers",
        env="FMNIST_WORKERS",
        type=whole_number(1, MAX_PROCESSES),
        metavar="N",
        help="number of processes that decode and classify (default: one for each CPU); with 1, the HTTP process does both",
    )


def _add_operation(parser: CommandParser) -> None:
    """Adds the options of the shutdown and the log."""
    add = parser.add_argument
    add(
        "--drain-seconds",
        type=whole_number(0, _MAX_VALUE),
        default=0,
        metavar="S",
        help="seconds to keep serving after SIGTERM; meanwhile /readyz answers 503 (default: 0)",
    )
    add(
        "--log-requests",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="log each request as one line of JSON on standard error (default: yes)",
    )


def _add_limits(parser: CommandParser) -> None:
    """Adds the limits of requests."""
    add = parser.add_argument
    mebibytes, files = whole_number(1, 256), whole_number(1, 1024)
    add(
        "--max-body",
        type=mebibytes,
        default=16,
        metavar="MIB",
        help="largest body of a request, in MiB; a larger one is answered with 413 (default: 16)",
    )
    add(
        "--max-files",
        type=files,
        default=32,
        metavar="N",
        help="largest number of images in a request; more are answered with 413 (default: 32)",
    )
    add(
        "--max-pixels",
        type=whole_number(1, _MAX_VALUE),
        default=51,
        metavar="MILLIONS",
        help="largest number of pixels of an image, in millions; a larger one is answered with 422 (default: 51)",
    )
    add(
        "--max-in-flight",
        type=whole_number(1, _MAX_VALUE),
        default=256,
        metavar="N",
        help="largest number of requests in progress; one more is answered with 503 (default: 256)",
    )
    add(
        "--body-seconds",
        type=whole_number(1, _MAX_VALUE),
        default=20,
        metavar="S",
        help="longest time for receiving a body, in seconds; a slower one is answered with 408 (default: 20)",
    )
    add(
        "--answer-seconds",
        type=whole_number(1, _MAX_VALUE),
        default=120,
        metavar="S",
        help="longest time from the end of the body to the answer, in seconds; a later one becomes 503 (default: 120)",
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


def main() -> None:
    """Entry point."""
    use_one_blas_thread()
    sys.exit(run_argparse(serve, extra="serve", at_once=True))
