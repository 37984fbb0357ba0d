"""The command ``fmnist-serve``: parse, load, serve."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_runtime.batching.cpus import MOST_PROCESSES
from fmnist_runtime.cli.console import run_app
from fmnist_runtime.cli.options import Options, positive, up_to

__all__ = ["main", "options", "serve"]


def options() -> Options:
    """The options of ``fmnist-serve``."""
    parser = Options(prog="fmnist-serve", description="Answer POST /classify over HTTP; see /openapi.json.")
    add = parser.add_argument
    add("--model", help="model file, folder, or embedded model by name (default: improved)")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every network (default: 127.0.0.1)")
    add("--port", type=_port, default=8000, metavar="N", help="0 picks a free one (default: 8000)")
    add("--token-file", type=Path, metavar="FILE", help="the bearer token to ask for")
    add("--careful", action="store_true", help="average four views: slower, refuses more of what is no garment")
    add(
        "--workers",
        type=up_to(MOST_PROCESSES),
        metavar="N",
        help="processes that decode and classify (default: one a CPU allowed); 1: none beside the service's own",
    )
    add("--max-body", type=up_to(256), default=16, metavar="MIB", help="of one request; more gets 413 (default: 16)")
    add("--max-files", type=up_to(1024), default=32, metavar="N", help="of one request; more gets 413 (default: 32)")
    add("--max-pixels", type=positive, default=50, metavar="MILLIONS", help="of a picture; more gets 422 (default: 50)")
    add("--max-in-flight", type=positive, default=256, metavar="N", help="requests; more get 503 (default: 256)")
    add("--body-seconds", type=positive, default=20, metavar="S", help="for a body to arrive, else 408 (default: 20)")
    add(
        "--answer-seconds",
        type=positive,
        default=120,
        metavar="S",
        help="for an answer, else 503; a worker that takes a third of it for a call is replaced (default: 120)",
    )
    add("--drain-seconds", type=_count, default=0, metavar="S", help="from SIGTERM, serve on while /readyz says no")
    add(
        "--log-requests",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a JSON line a request on standard error (default: yes)",
    )
    return parser


def serve(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say until a signal ends it; return the exit code."""
    chosen = options().parse_args(args)
    from fmnist_runtime.batching.cpus import available_cpus
    from fmnist_runtime.serve.build import build
    from fmnist_runtime.serve.settings import Limits, Settings, read_token

    limits = Limits(
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
    with build(chosen.model, settings, careful=chosen.careful) as service:
        from fmnist_runtime.serve.server import listen, run

        run(service, listen(chosen.host, chosen.port))
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0")
    return int(text)


def _port(text: str) -> int:
    if _count(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: they end at 65535")
    return int(text)


def main() -> None:
    """Entry point."""
    # numpy's linear algebra would start a thread for each processor, and the matrices here are tiny.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run_app(serve, extra="serve"))
