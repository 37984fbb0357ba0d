"""How every command of the toolkit ends: one line on stderr and a documented exit code, never a traceback for bad input.

Exit codes: 0 done, 1 our error, 2 usage, 3 a failed gate, 130 interrupted.
"""

import os
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from fmnist_runtime.errors import FmnistError

__all__ = ["run_app"]

_OURS = ("fmnist_train", "fmnist_export", "fmnist_runtime")


def run_app(app: Callable[..., Any], *, extra: str | None = None, args: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        app: a function of the arguments that returns the exit code (the runtime's commands, which use argparse), or a
            ``typer.Typer`` (training and export).
        extra: the optional dependency set that the command needs; named where one of its modules is missing.
        args: the arguments; by default those of the process.
    """
    try:
        code = app(args) if isinstance(app, FunctionType) else app(args=args, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing to say, and Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except SystemExit as end:  # argparse has said what there was to say
        return end.code if isinstance(end.code, int) else 0
    except FmnistError as error:
        return _say(str(error), error.exit_code)
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


def _say(message: str, code: int) -> int:
    print(f"error: {message}" if code != 130 else message, file=sys.stderr)
    return code
