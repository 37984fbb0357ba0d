"""Exit codes and error messages of all commands: invalid input gives one line on stderr, never a traceback.

Exit codes: 0 success, 1 error, 2 wrong usage, 3 failed gate, 130 interrupted.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fmnist_runtime.errors import FmnistError, extra_hint, printable, shorten
from fmnist_runtime.signals import INTERRUPTED, interrupted_by_signals
from fmnist_runtime.streams import discard_stdout, prepare_streams

__all__ = [
    "counted",
    "describe_library_error",
    "exit_code_of",
    "is_library_error",
    "printable",
    "run_argparse",
    "run_main",
    "use_one_blas_thread",
]

_OWN_PACKAGES = ("fmnist_bench", "fmnist_train", "fmnist_export", "fmnist_runtime")
"""Packages of this project. If a module of one of them is missing, that is a defect, not a missing extra."""

_ADVICE = {
    errno.EAGAIN: "; the limit on processes or threads is reached",
    errno.EFBIG: "; raise the limit on file sizes (ulimit -f)",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; make space there, then run the command again"),
}
"""Ends of messages about errors of the system; those about space are for files, not for standard output."""

_OUT_OF_MEMORY = "out of memory: the command needs more than is available"

_OUT_OF_MEMORY_TEXTS = ("allocate memory", "out of memory", "bad_alloc", "bad allocation")
"""Parts of the messages by which PyTorch (CPU and CUDA), the C++ library and onnxruntime name a lack of memory."""

_NO_THREAD_TEXTS = ("can't start new thread", "pthread_create failed")
"""Parts of the messages of Python and onnxruntime about a thread that cannot be started."""

_POOLS = 4
"""Largest number of libraries that have as many threads as there are CPUs: OpenBLAS, OpenMP, PyTorch and onnxruntime."""


def run_argparse(
    command: Callable[[Sequence[str] | None], int | None],
    *,
    extra: str | None = None,
    args: Sequence[str] | None = None,
    at_once: bool = False,
) -> int:
    """Runs a command that parses with argparse, and returns its exit code.

    Args:
        command: Takes the arguments, returns the exit code; None counts as 0.
        extra: Optional dependency set of the command, named in the message about a missing module.
        args: Arguments; None: those of the process.
        at_once: See ``exit_code_of``.
    """
    return exit_code_of(lambda: command(args), extra=extra, at_once=at_once)


def run_main(module: str, *, extra: str) -> int:
    """Imports a module, calls its ``main``, and returns the exit code.

    Args:
        module: Full name of the module, which may import packages of ``extra``.
        extra: See ``run_argparse``.
    """
    return exit_code_of(lambda: _import_and_call(module), extra=extra)


def use_one_blas_thread() -> None:
    """Lets numpy's linear algebra have one thread in place of one for each CPU, if called before numpy is imported.

    The matrices here are tiny, and where threads are short, OpenBLAS would interrupt this process.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _import_and_call(module: str) -> Any:
    try:
        Path.cwd()
    except FileNotFoundError:  # PyTorch's MKL looks for its libraries from here, and ends the process
        raise FmnistError("the current folder no longer exists; change to another with cd") from None
    from fmnist_runtime.cpus import available_cpus, grantable_threads  # not at start-up of the other commands

    if grantable_threads(needed := _POOLS * available_cpus()) < needed:
        # OpenBLAS would interrupt this process, and OpenMP would abort it.
        os.environ.update({name: os.environ.get(name, "1") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")})
    return import_module(module).main()


def exit_code_of(call: Callable[[], Any], *, extra: str | None = None, at_once: bool = False) -> int:
    """Calls a function, prints the message of an error, and returns the exit code.

    SIGTERM interrupts the call as Ctrl-C does. During an import, both end the process.

    Args:
        call: Returns the exit code; a value that is not an integer counts as 0.
        extra: See ``run_argparse``.
        at_once: Whether a signal always ends the process: for a command that has nothing to lose.

    Raises:
        Exception: Any exception that is a defect of this project.
    """
    prepare_streams()
    try:
        with interrupted_by_signals(at_once=at_once):
            code = _call(call)
    except BrokenPipeError:  # the program that reads the output has ended (`| head`)
        discard_stdout()
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except FmnistError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:  # a full disk or a missing permission, not a defect
        discard_stdout()
        if error.errno == errno.EMFILE:  # no matter which file was one too many
            return _fail("too many open files: raise their limit (ulimit -n)")
        name = f"{error.filename}: " if error.filename is not None else ""
        advice = _ADVICE.get(error.errno or 0, "") if name or error.errno == errno.EAGAIN else ""
        return _fail(f"{name}{error.strerror or str(error) or type(error).__name__}{advice}")
    except MemoryError:
        return _fail(_OUT_OF_MEMORY)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if extra is None or missing in _OWN_PACKAGES:
            raise
        return _fail(f"{missing} is not installed; this command needs: {extra_hint(extra)}")
    except Exception as error:
        if is_library_error(error):
            return _fail(describe_library_error(error))
        if any(part in str(error) for part in _NO_THREAD_TEXTS):
            from fmnist_runtime.cpus import NO_THREAD  # not at start-up

            return _fail(NO_THREAD)
        if not _is_out_of_memory(error):
            raise
        return _fail(_OUT_OF_MEMORY)
    return code if isinstance(code, int) else 0


def _call(call: Callable[[], Any]) -> Any:
    """Calls a function, flushes stdout, and returns the exit code, also where argparse raises ``SystemExit``."""
    try:
        code = call()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # click and rich exit with code 1 because of it
            raise end.__context__ from None
        code = end.code  # argparse has printed its message
    sys.stdout.flush()
    return code


def is_library_error(error: BaseException) -> bool:
    """Returns whether an exception was raised by the import of an installed library.

    With too little memory, an import may raise an exception of any type.
    """
    if isinstance(error, ImportError | SystemError):
        return True
    if type(error) is LookupError and str(error).startswith("unknown encoding"):  # Python could not import its module
        return True
    packages, importing = ["__main__"], False
    traceback = error.__traceback__
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        packages.append(frame.f_globals.get("__name__", "").partition(".")[0])
        importing |= frame.f_code.co_name == "<module>" and packages[-1] not in (*_OWN_PACKAGES, "__main__")
    return importing and packages[-1] not in _OWN_PACKAGES


def describe_library_error(error: BaseException) -> str:
    """Returns one line about a library that cannot be loaded; see ``is_library_error``."""
    return f"a library cannot be loaded: {_root_cause(error)}; memory is short, or the installation damaged"


def _is_out_of_memory(error: BaseException) -> bool:
    """Returns whether a lack of memory caused an exception; libraries raise exceptions of their own types for it."""
    from fmnist_runtime.cpus import limits_address_space  # not at start-up

    cause: BaseException | None = error
    while cause is not None:
        own_words = type(cause).__name__, str(cause)
        if isinstance(cause, MemoryError) or any(part in own_words[1].lower() for part in _OUT_OF_MEMORY_TEXTS):
            return True
        # PyTorch's oneDNN gives no reason. Under a limit on memory, the limit is the only known one.
        if own_words == ("RuntimeError", "could not create a primitive") and limits_address_space():
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun: "1 image", "2,000 images".

    Args:
        number: The number.
        noun: The singular.
        plural: The plural; by default the singular and "s".
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _fail(message: str, code: int = 1) -> int:
    print(f"error: {printable(shorten(message))}", file=sys.stderr)
    return code


def _root_cause(error: BaseException) -> str:
    """Returns the first line of the original exception's message: the outer message of numpy has thirty lines."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return (str(error).splitlines() or [type(error).__name__])[0]
