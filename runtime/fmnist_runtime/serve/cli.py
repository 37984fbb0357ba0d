"""The command ``fmnist-serve``: parse, load, serve."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fmnist_runtime.console import run_app

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Option(help="Model file, folder, or embedded model by name.", show_default="improved")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token to ask for.", show_default=False),
    ] = None,
    careful: Annotated[bool, typer.Option("--careful", help="Average several views: slower.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode and classify.", show_default="one a CPU")
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, help="MiB of one request.")] = 16,
    max_pixels: Annotated[int, typer.Option(min=1, help="Millions of pixels of one picture.")] = 50,
    max_files: Annotated[int, typer.Option(min=1, help="Pictures in one request.")] = 32,
    max_in_flight: Annotated[int, typer.Option(min=1, help="Requests answered at once; more get 503.")] = 256,
    body_seconds: Annotated[float, typer.Option(min=0.1, help="Time for a body to arrive.")] = 20.0,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="After SIGTERM, go on this long while /readyz says no.")
    ] = 0.0,
    log_requests: Annotated[bool, typer.Option(help="A JSON line a request on standard error.")] = True,
) -> None:
    """Answer POST /classify over HTTP."""
    from fmnist_runtime.serve.server import build, listen, run
    from fmnist_runtime.serve.settings import Limits, Settings, read_token
    from fmnist_runtime.stream import available_cpus

    limits = Limits(
        body_bytes=max_body << 20,
        files=max_files,
        pixels=max_pixels * 1_000_000,
        in_flight=max_in_flight,
        body_seconds=body_seconds,
        held_bytes=max(Limits.held_bytes, max_body << 20),
    )
    settings = Settings(
        host=host,
        port=port,
        token=read_token(token_file) if token_file else None,
        threads=threads or available_cpus(),
        drain_seconds=drain_seconds,
        log_requests=log_requests,
        limits=limits,
    )
    run(build(model, settings, careful=careful), listen(host, port))


def main() -> None:
    """Entry point."""
    sys.exit(run_app(app, extra="serve"))
