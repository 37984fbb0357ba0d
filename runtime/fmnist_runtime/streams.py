"""Standard streams of the commands: closed or broken ones, libraries that write to standard output, and colors."""

import io
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["discard_stdout", "keep_stdout", "prepare_streams", "use_color"]


class _Messages(io.FileIO):
    """File that loses what cannot be written: a log on a full disk or a closed pipe stops no work."""

    def write(self, data: Any, /) -> int:
        """Writes the bytes and returns their number, also after a failure."""
        try:
            return super().write(data) or len(data)  # None: a non-blocking pipe is full
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Prepares the standard streams for a command.

    Closed streams lead to the null device. Standard output waits for a slow reader, also where the parent process has made
    its pipe non-blocking, as Node.js and ssh do: answers would be lost. Standard error loses messages that cannot be
    written. Characters that the terminal's encoding lacks are escaped.
    """
    _open_descriptors()
    if sys.platform != "win32":
        os.set_blocking(1, True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (open as long as the process lives)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__:
        sys.stderr = _without_failures(sys.stderr)


def _without_failures(stream: Any) -> Any:
    """Returns a stream to the same file that loses what cannot be written; a console of Windows stays as it is."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(raw) is not io.FileIO:
        return stream
    messages: Any = _Messages(raw.fileno(), "wb", closefd=False)
    if raw is buffer:  # python -u
        return io.TextIOWrapper(messages, stream.encoding, stream.errors, write_through=True)
    return io.TextIOWrapper(io.BufferedWriter(messages), stream.encoding, stream.errors, line_buffering=True)


def _open_descriptors() -> None:
    """Opens the null device for closed standard descriptors.

    The next opened file would get the descriptor otherwise, and with it what a library prints.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free descriptor: this one


def keep_stdout() -> None:
    """Reserves standard output for ``sys.stdout``; what libraries write to file descriptor 1 goes to standard error.

    Has no effect if the caller has replaced ``sys.stdout``.
    """
    if sys.stdout is not sys.__stdout__:
        return
    try:
        reserved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        return
    encoding = getattr(sys.stdout, "encoding", None)
    # closefd=False keeps the descriptor open until the process ends. A terminal is line-buffered, as by default in Python.
    sys.stdout = os.fdopen(reserved, "w", buffering=1 if os.isatty(reserved) else -1, encoding=encoding, closefd=False)


def discard_stdout() -> None:
    """Discards unwritable output, so that Python reports no error when it flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def use_color(stream: Any) -> bool:
    """Returns whether a stream is a terminal that shows colors; ``NO_COLOR`` disables them (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
