"""Small helpers for folders, JSON files, sections of Markdown files, and misspelled names."""

import difflib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from fmnist_runtime.errors import ConfigError, FileError
from fmnist_runtime.files import write_atomically

__all__ = [
    "around_section",
    "bounded_lines",
    "expand_path",
    "lock_folder",
    "nearest",
    "read_object",
    "replace_section",
]


def expand_path(path: str | Path) -> Path:
    """The path with a leading ``~`` expanded, which a shell leaves alone in ``--option=~/x``."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user
        return Path(path)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; the operating system releases the lock when the process ends.

    Raises:
        ConfigError: another process holds it.
    """
    path = folder / ".lock"
    while True:
        file = path.open("ab")
        try:
            _lock(file.fileno())
            current = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            file.close()
            message = f"another process is training into {folder}: wait for it, or give another --output"
            raise ConfigError(message) from None
        if current:
            break
        file.close()  # another process removed this file between open and lock
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            path.unlink()
        file.close()


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


def bounded_lines(file: TextIO, longest: int) -> Iterator[str]:
    """Yield the lines of a file with their line ends, and bound the memory for a file without line ends.

    Args:
        file: opened in text mode.
        longest: largest length of a line, characters.

    Raises:
        ValueError: a longer line.
    """
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise ValueError(f"a line of more than {longest:,} characters; the file is damaged or no such table")
        yield line


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'simple'?)"`` for a misspelt name, or an empty text."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or damaged file gives an empty one."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace_section(path: Path, name: str, writer: str, text: str) -> None:
    """Replace the text of a file between ``<!-- NAME: written by WRITER -->`` and ``<!-- end of NAME -->``.

    Raises:
        FileError: the file does not hold the two marks, once each.
    """
    before, after = around_section(path, name, writer)
    begin, end = _marks(name, writer)
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}")


def around_section(path: Path, name: str, writer: str) -> tuple[str, str]:
    """Return the text before and after a section. Called alone, it checks that ``replace_section`` will work.

    Raises:
        FileError: the file does not hold the two marks, once each.
    """
    text = path.read_text("utf-8") if path.is_file() else ""
    begin, end = _marks(name, writer)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended or text.count(begin) > 1 or text.count(end) > 1:
        raise FileError(f"{path} must hold, once and on lines of their own, {begin} and {end}")
    return before, after


def _marks(name: str, writer: str) -> tuple[str, str]:
    return f"<!-- {name}: written by {writer} -->", f"<!-- end of {name} -->"
