"""Reading of files in bounded memory, atomic writing, and checks of output folders before work begins."""

import io
import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Protocol

from fmnist_runtime.errors import FileError

__all__ = ["make_folder", "read_at_most", "standard_input", "write_atomically"]


_PIECE = 1 << 20
"""Bytes read at a time if the size is unknown: ``read(n)`` allocates n bytes, even for a smaller file."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_at_most(file: _Readable, limit: int, size: int = 0) -> bytes:
    """Reads a file to its end, but at most one byte more than the limit; a result longer than the limit is incomplete.

    The memory in use depends on the file's size, not on the limit.

    Args:
        file: File object opened in binary mode.
        limit: Largest accepted size in bytes.
        size: Expected size in bytes; 0 where it is unknown (a pipe).
    """
    first = file.read(min(size or _PIECE, limit) + 1)
    whole = io.BytesIO(
        first
    )  # grows in place and returns its content without a copy; joining pieces needs twice the memory
    length = whole.seek(0, io.SEEK_END)
    while length <= limit and (piece := file.read(min(_PIECE, limit + 1 - length))):
        length += whole.write(piece)
    return whole.getvalue()


def standard_input() -> BinaryIO:
    """Returns standard input in binary mode.

    Raises:
        OSError: The parent process has closed it.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes a file under a temporary name in the same folder, flushes it to the disk, and renames it.

    Missing folders are created. After a loss of power, the file has either the old content or the new one. Where two threads
    or processes write the same file at once, the result is the whole content of one of them.

    Args:
        path: Path of the file.
        data: Content of the file; text is encoded as UTF-8.

    Raises:
        OSError: The folder or file cannot be written; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # already gone after the renaming


def make_folder(folder: Path) -> None:
    """Creates a folder if it does not exist, and checks that files can be written into it.

    Raises:
        FileError: The folder cannot be created or written into.
    """
    import tempfile  # slow to import, and needed only here

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(f"cannot write into {folder} ({error.strerror or error}); name another folder") from error
