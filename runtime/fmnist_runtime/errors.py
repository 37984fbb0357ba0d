"""Exceptions of this project; any other exception is a defect.

FmnistError
├── ImageError (ValueError)      file is not an image, truncated, too large, of size zero, ...
├── ModelError (ValueError)      file is not a model of this project, is damaged, or has another signature or schema
├── DataError (ValueError)       data set is missing, malformed or mislabeled
├── FileError (ValueError)       another file or folder cannot be read or written
├── ConfigError (ValueError)     options are invalid, alone or together
├── CheckpointError (ValueError) checkpoint is missing, damaged or of another recipe
├── WorkerError                  worker process died, and cannot be started again
├── GateError                    exported model failed its gate (exit code 3)
└── MissingExtraError (ImportError)  optional dependencies are not installed

Each message is one line of at most 1,000 characters: what happened, and what to do. The commands print it on stderr and exit
with ``exit_code``.
"""

from contextlib import suppress

__all__ = [
    "MALFORMED",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FileError",
    "FmnistError",
    "GateError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "WorkerError",
    "clear_frames",
    "extra_hint",
    "printable",
    "reason_of",
    "shorten",
]


MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Exceptions of code that reads values of JSON, where a value is missing or is not what it should be. An integer of JSON may be
larger than any float."""


_LONGEST = 1000
"""Characters of a message: room for two paths and a reason."""
_GAP = " ... "
"""Text in place of what is left out."""


class FmnistError(Exception):
    """Base class of all exceptions of this project.

    A long message is cut in its middle: it may quote names, numbers and lines of a file, which have any length.
    """

    exit_code = 1
    """Exit code of a command that this exception ends."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


class ImageError(FmnistError, ValueError):
    """Image cannot be read, or is refused because of its cost."""


class ModelError(FmnistError, ValueError):
    """Model file is refused, or the model call failed."""


class DataError(FmnistError, ValueError):
    """Data set is missing, malformed or mislabeled."""


class FileError(FmnistError, ValueError):
    """File or folder cannot be read or written, or has other content than expected."""


class ConfigError(FmnistError, ValueError):
    """Options are invalid, alone or together."""

    exit_code = 2


class CheckpointError(FmnistError, ValueError):
    """Checkpoint is missing, damaged or belongs to another recipe."""


class WorkerError(FmnistError):
    """Worker process died and cannot be started again, or none could be started."""


class GateError(FmnistError):
    """Exported model failed its gate; earlier files were not replaced."""

    exit_code = 3


class MissingExtraError(FmnistError, ImportError):
    """Optional dependencies are not installed."""


def extra_hint(extra: str) -> str:
    """Returns the commands that install an optional dependency set, from a checkout and from a wheel file.

    The commands contain a path instead of the project's name, because it is not on a package index.
    """
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed after an error only

    try:
        wheel = f"fmnist_edge-{version('fmnist-edge')}-py3-none-any.whl"
    except PackageNotFoundError:  # run from a source tree that was never installed
        wheel = "WHEEL"
    return f"pip install '.[{extra}]' in a checkout, or pip install '{wheel}[{extra}]'"


def shorten(text: str) -> str:
    """Returns a text of at most 1,000 characters: the middle of a longer one is left out."""
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - len(_GAP)) // 2
    return text[:half] + _GAP + text[-half:]


def printable(text: str) -> str:
    """Returns the text as one line, with control characters escaped: file names may contain them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def reason_of(error: Exception) -> str:
    """Returns the first line of an exception's message, up to 200 characters; a ``KeyError`` has the missing key only.

    That of an ``OSError`` lacks its number and the file, which the message around it names.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    missing = isinstance(error, KeyError) and error.args
    message = f"'{error.args[0]}' is missing" if missing else str(error)
    return (message.splitlines() or [f"{type(error).__name__} without a reason"])[0][:200]


def clear_frames(error: BaseException, outside: BaseException | None) -> None:
    """Clears the local variables of functions that ended by an exception or its causes, which keeps them, such as pixels.

    Args:
        error: The exception.
        outside: Exception that the caller was handling before, and which is left alone: it is a cause by Python's rules.
    """
    left: list[BaseException | None] = [error]
    seen = {id(outside)}
    while left:
        cause = left.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        left += cause.__cause__, cause.__context__
        place = cause.__traceback__
        while place is not None:
            with suppress(RuntimeError):  # this function has not ended
                place.tb_frame.clear()
            place = place.tb_next
