"""How every command of the toolkit ends: one line on stderr and a documented exit code, never a traceback for bad input.

Exit codes: 0 done, 1 our error, 2 usage, 3 a failed gate, 130 interrupted.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

from fmnist_runtime.errors import FmnistError

__all__ = ["printable", "run_app", "run_main"]

_OURS = ("fmnist_bench", "fmnist_train", "fmnist_export", "fmnist_runtime")


def run_app(app: Callable[..., Any], *, extra: str | None = None, args: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        app: a function of the arguments that returns the exit code (the runtime's commands, which use argparse), or a
            ``typer.Typer`` (training and export).
        extra: the optional dependency set that the command needs; named where one of its modules is missing.
        args: the arguments; by default those of the process.
    """
    _prepare_streams()
    try:
        code = app(args) if isinstance(app, FunctionType) else app(args=args, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone (`| head`): nothing to say
        _abandon_stdout()
        return 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except SystemExit as end:  # argparse has said what there was to say
        return end.code if isinstance(end.code, int) else 0
    except FmnistError as error:
        return _say(str(error), error.exit_code)
    except OSError as error:  # no space left, no permission: the user's to mend, not a fault of the program
        _abandon_stdout()
        name = f"{error.filename}: " if error.filename is not None else ""
        return _say(f"{name}{error.strerror or error}", 1)
    except MemoryError:
        return _say("this needs more memory than there is", 1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if extra is None or missing in _OURS:
            raise
        return _say(f"{missing} is not installed; this command needs: pip install 'fmnist-edge[{extra}]'", 1)
    except Exception as error:
        # click's own errors and exits carry their code; looked up by name so that click need not be imported here
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "exit_code"):
            if hasattr(error, "show"):
                error.show()
            elif type(error).__name__ == "Abort":
                return _say("interrupted", 130)
            return int(error.exit_code)
        if type(error).__name__ == "Abort":
            return _say("interrupted", 130)
        raise
    return code if isinstance(code, int) else 0


def run_main(module: str, *, extra: str) -> int:
    """Import a module, which may need the extra, and run its ``main``; return the exit code."""

    def command(args: Sequence[str] | None) -> None:
        import_module(module).main()

    return run_app(command, extra=extra)


def printable(text: str) -> str:
    """One line without control characters: names of files and messages about them may hold any."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _say(message: str, code: int) -> int:
    print(f"error: {printable(message)}" if code != 130 else message, file=sys.stderr)
    return code


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (for as long as the process lives)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a sign that the terminal lacks is no failure


def _abandon_stdout() -> None:
    """Let what cannot be written vanish, so that Python does not complain when it flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
