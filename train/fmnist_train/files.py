"""Helper functions for folders, temporary files, gzipped files, JSON files, sections of Markdown files, and misspelled names."""

import difflib
import errno
import gzip
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from fmnist_runtime.errors import ConfigError, DataError, FileError, FmnistError
from fmnist_runtime.files import SUBSTITUTE_BYTES, describe_substitute, write_atomically

__all__ = [
    "bounded_lines",
    "find_file",
    "is_file",
    "is_folder",
    "lock_folder",
    "nearest",
    "open_unpacked",
    "read_object",
    "refuse_replacing",
    "replace_section",
    "require_temporary_space",
    "split_at_section",
    "temporary_folder",
]

UNPACKED_LIMIT = 1 << 31
"""Largest size of an unpacked file in bytes: twice Fashion-MNIST as CSV in the longest known format (``numpy.savetxt``).
A gzip file of 2 MB can unpack to as much, and one of 4 MB to twice that."""

_SPACE = 64
"""MiB that the folder of temporary files must have room for: 35 times the largest model, and any compiler's files for it."""

_GZIP = b"\x1f\x8b"
"""First bytes of gzip files. Some download programs leave out the extension."""

_MOST_LINES = 3_000_000
"""Largest number of lines of a table: 50 times Fashion-MNIST. A small gzip file can unpack to billions of empty lines."""


@contextmanager
def lock_folder(folder: Path, work: str = "training") -> Iterator[None]:
    """Locks a folder for this process; the operating system releases the lock when the process ends.

    A file system without locks, for example of some network shares, is used without a lock.

    Args:
        folder: Folder that only one process may write.
        work: What that process does, for the message.

    Raises:
        ConfigError: Another process holds the lock.
    """
    path = folder / ".fmnist-lock"
    while True:
        file = path.open("ab")
        try:
            _lock(file.fileno())
            current = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            file.close()
            message = f"another process is {work} into {folder}: wait for it, or give another --output"
            raise ConfigError(message) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
            current = True
        if current:
            break
        file.close()  # another process removed this file between open and lock
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            path.unlink()
        file.close()


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Errors of file systems that have no locks."""

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def refuse_replacing(folder: Path, names: Iterable[str], *, mark: str = "", keys: Collection[str] = ()) -> None:
    """Checks that a command replaces no files but its own.

    Args:
        folder: Output folder.
        names: Files that the command writes.
        mark: JSON file among them that shows that all are its own; empty: none of them may exist.
        keys: Some keys of ``mark``.

    Raises:
        ConfigError: One of the files exists, and the folder is not that of an earlier output.
    """
    if mark and read_object(folder / mark).keys() >= set(keys):
        return
    if found := next((name for name in names if os.path.lexists(folder / name)), None):
        raise ConfigError(f"{folder / found} exists and would be replaced: remove it, or name another output folder")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Creates a folder for temporary files, and removes it in the end.

    Raises:
        OSError: There is no space (see ``require_temporary_space``). onnxruntime, onnx and numpy raise errors without that
            reason, so it is looked for after any error that has no message for the user.
    """
    with tempfile.TemporaryDirectory() as name:
        try:
            yield Path(name)
        except (FmnistError, MemoryError):
            raise
        except Exception as error:
            if getattr(error, "filename", None) is None:
                require_temporary_space()
            raise


def require_temporary_space() -> None:
    """Writes a file of ``_SPACE`` among the temporary files, and removes it.

    Raises:
        OSError: The disk is full, or a limit on file sizes is reached; ``filename`` is the folder of temporary files.
    """
    try:
        with tempfile.TemporaryFile() as file:
            for _ in range(_SPACE):
                file.write(bytes(1 << 20))
    except OSError as error:
        error.filename = tempfile.gettempdir()
        raise


def is_folder(path: Path) -> bool:
    """Returns whether a path is a folder, or a link to one; ``Path.is_dir`` raises for a link into a private folder."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Returns whether a path is a file, or a link to one; ``Path.is_file`` raises for a link into a private folder."""
    return os.path.isfile(path)  # noqa: PTH113


def find_file(folder: Path, name: str) -> Path | None:
    """Returns the file ``name``, or else ``name.gz``, of a folder; None if both are missing."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


@contextmanager
def open_unpacked(path: Path) -> Iterator[io.BufferedReader]:
    """Opens a file in binary mode, and decompresses it if its content is gzipped or its name ends in ``.gz``.

    Raises:
        DataError: The file is unreadable or damaged, was saved in place of the wanted one (see ``describe_substitute``), or unpacks
            to more than ``UNPACKED_LIMIT`` bytes. A later read raises the error, too.
    """
    try:
        with path.open("rb") as file:
            start = file.peek(SUBSTITUTE_BYTES)
            is_gzipped = start.startswith(_GZIP)
            if not is_gzipped and (substitute := describe_substitute(start)):
                raise DataError(f"{path}: {substitute}")
            is_packed = is_gzipped or path.suffix == ".gz"
            yield io.BufferedReader(_Unpacked(path, file), 1 << 20) if is_packed else file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None)
        fault = (
            f"cannot be read ({reason})" if reason else f"cannot be read, the file is damaged or incomplete ({error})"
        )
        raise DataError(f"{path}: {fault}") from error


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, of which at most ``UNPACKED_LIMIT`` bytes can be read."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self._path, self._file, self._left = path, gzip.GzipFile(fileobj=file), UNPACKED_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DataError(f"{self._path}: unpacks to more than {UNPACKED_LIMIT:,} bytes, too many for a data set")
        return count


def bounded_lines(file: TextIO, longest: int) -> Iterator[str]:
    """Yields the lines of a file with their line ends, in bounded memory and time.

    Args:
        file: File opened in text mode.
        longest: Largest length of a line in characters.

    Raises:
        UnicodeError: The first line has a NUL, as UTF-16 without a byte order mark has when it is read as UTF-8.
        ValueError: A line is longer, or there are more than ``_MOST_LINES`` lines.
    """
    for number in range(_MOST_LINES):
        line = file.readline(longest + 1)
        if not line:
            return
        if len(line) > longest:
            raise ValueError(f"a line of more than {longest:,} characters; the file is damaged or is not a table")
        if not number and "\0" in line:
            raise UnicodeError("a NUL in the first line")
        yield line
    if file.readline(1):
        raise ValueError(f"more than {_MOST_LINES:,} lines; the file is damaged or is not a table")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a suggestion for a misspelled name, as in ``" (did you mean 'simple'?)"``; an empty text without one."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object; a missing or damaged file gives an empty one."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def replace_section(path: Path, name: str, writer: str, text: str) -> None:
    """Replaces the text of a file between ``<!-- NAME: written by WRITER -->`` and ``<!-- end of NAME -->``.

    Raises:
        FileError: The file is not UTF-8 text, or does not contain both markers exactly once.
    """
    before, after = split_at_section(path, name, writer)
    begin, end = _markers(name, writer)
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}")


def split_at_section(path: Path, name: str, writer: str) -> tuple[str, str]:
    """Returns the text before and after a section; also used to check, before long work, that ``replace_section`` will work.

    Raises:
        FileError: The file is not UTF-8 text, or does not contain both markers exactly once.
    """
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
    except UnicodeError as error:
        raise FileError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    begin, end = _markers(name, writer)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or text.count(begin) > 1 or text.count(end) > 1:
        raise FileError(f"{path} must contain these two lines, each once: {begin} and {end}")
    return before, after


def _markers(name: str, writer: str) -> tuple[str, str]:
    return f"<!-- {name}: written by {writer} -->", f"<!-- end of {name} -->"
