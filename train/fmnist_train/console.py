"""Exit codes and error messages of the commands that use typer: those of ``fmnist_runtime.console``."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fmnist_runtime.console import exit_code_of, printable
from fmnist_runtime.signals import INTERRUPTED
from fmnist_train.memory import try_imports_first

__all__ = ["Version", "run_typer"]

# Typer's releases bring click or a copy of it. The base class of its usage errors has the same name in both.
_CLICK_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _print_version(given: bool) -> None:
    if given:
        import fmnist_runtime  # imported here, because reading the version is slow

        print(fmnist_runtime.__version__)
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]
"""Option of a command's main function; it ends the command before other options are read."""


def run_typer(app: typer.Typer, *, extra: str | None = None, args: Sequence[str] | None = None) -> int:
    """Runs a typer application, and returns its exit code.

    Args:
        app: The application.
        extra: Optional dependency set of the command; the message about a missing module names it.
        args: Arguments; None: those of the process.
    """
    os.environ["MPLBACKEND"] = "agg"  # a notebook's value stops the import of matplotlib where its package is missing
    if not os.environ.get("COLUMNS", "").strip("0"):  # rich would print into no columns at all
        os.environ.pop("COLUMNS", None)
    try_imports_first()
    return exit_code_of(lambda: _call(app, args), extra=extra)


def _call(app: typer.Typer, args: Sequence[str] | None) -> Any:
    try:
        code = app(args=args, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _CLICK_ERROR as error:
        print(_usage_message(error), file=sys.stderr)
        return error.exit_code
    if code == INTERRUPTED:  # typer's answer to a signal; other releases raise Abort
        raise KeyboardInterrupt
    return code


def _usage_message(error: Any) -> str:
    """Returns a usage error as one line, in the form of ``CommandParser.error``."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    command = f"{context.command_path} " if context else ""
    return printable(f"error: {message}; {command}--help lists the options")
