"""Reading of files in bounded memory, atomic writing, and checks of output folders before work begins."""

import errno
import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from fmnist_runtime.errors import ConfigError, FileError, reason_of

__all__ = [
    "SUBSTITUTE_BYTES",
    "check_folder",
    "describe_substitute",
    "make_folder",
    "parse_path",
    "read_at_most",
    "standard_input",
    "write_atomically",
    "write_together",
]


_PIECE = 1 << 20
"""Bytes read at a time if the size is unknown: ``read(n)`` allocates n bytes, even for a smaller file."""


_UNFINISHED = ".fmnist-unfinished-"
"""Beginning of the name of a folder in which files are completed."""
_TEMPORARY = re.compile(rf"{re.escape(_UNFINISHED)}\w+|\.fmnist-(?P<process>\d+)-\d+")
"""Name of such a folder, or of a file that is written by a process."""
_ABANDONED_SECONDS = 3600
"""Age from which it is one of a process that was killed: writing takes seconds."""
_MOST_LINKS = 40
"""Links that are followed one after the other, as by Linux: links may lead to each other."""


_LFS = b"version https://git-lfs.github.com/spec/"
"""First bytes of a pointer of Git LFS (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""
_HTML = (b"<!doctype html", b"<html")
"""Beginnings of a web page, in lower case."""
_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b\b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"(\xb5/\xfd": "a Zstandard file",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!\x1a\7": "a RAR archive",
}
"""Kinds of archives by their first bytes."""
_DOCUMENTS = (
    *(b"[Content_Types].xml", b"_rels/", b"docProps/", b"word/", b"xl/"),  # Word and Excel
    *(b"mimetypeapplication/vnd.oasis.opendocument", b"Index/Document.iwa"),  # LibreOffice, Pages and Numbers
)
"""Beginnings of the first name, and of what follows it, in the ZIP archives that are documents of office programs."""
_NAME_PLACE = 30
"""Position of the first name in a ZIP archive."""
_PICKLE = b"/data.pkl"
"""Name of the first file in the ZIP archive that ``torch.save`` writes."""
SUBSTITUTE_BYTES = 1024
"""Bytes examined for a substitute: blank lines or a byte order mark may precede a web page."""


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


def describe_substitute(data: bytes) -> str | None:
    """Returns what a file is, and what to do, if it took the place of the wanted one: a Git LFS pointer, a web page, an archive.

    Args:
        data: Content of the file; ``SUBSTITUTE_BYTES`` of its beginning are enough.

    Returns:
        The description; None for any other file.
    """
    if data.startswith(_LFS):
        return "a pointer of Git LFS, not the file itself: run 'git lfs pull' in its repository"
    if data[:SUBSTITUTE_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
        return "a web page, not the file itself: download the raw file"
    kind = next((kind for start, kind in _ARCHIVES.items() if data.startswith(start)), None)
    if kind and _PICKLE in data[:SUBSTITUTE_BYTES]:
        return "written by torch.save: docs/models.md, 'Weights from elsewhere', shows how to convert it"
    if kind and data.startswith(_DOCUMENTS, _NAME_PLACE):
        return "a document of an office program; save its table as CSV, or its picture as PNG or JPEG"
    return f"{kind}; unpack it first" if kind else None


def standard_input() -> BinaryIO:
    """Returns standard input in binary mode.

    Raises:
        OSError: The parent process has closed it.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer


def parse_path(text: str) -> Path:
    """Converts an argument of a command to a path. ``Path("")`` would be the current folder.

    A leading ``~`` is the user's home folder: a shell does not expand it in ``--option=~/x`` and in a variable.

    Raises:
        ConfigError: The text is empty, as from an unset variable of a shell.
    """
    if not text:
        raise ConfigError("the path is empty; name a file or folder, or . for the current folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user
        return Path(text)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes a file under a temporary name in the same folder, flushes it to the disk, and renames it.

    Missing folders are created. After a loss of power, the file has either the old content or the new one. Where two threads
    or processes write the same file at once, the result is the whole content of one of them. A link stays: the file that it
    leads to is replaced. A device, a pipe, or an open file such as ``/dev/stdout`` is written in place: renaming would replace
    ``/dev/null`` itself. Old temporary files of killed processes are removed.

    Args:
        path: Path of the file.
        data: Content of the file; text is encoded as UTF-8.

    Raises:
        OSError: The folder or file, which ``filename`` holds, cannot be written, or the path is a folder; no temporary file is
            left behind.
    """
    content = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path):
        target = _find_target(path)
        if _is_written_in_place(target):
            _write_in_place(target, content)
        else:
            _remove_leftovers(target.parent.absolute())
            _replace(target, content)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts a path into an ``OSError``: a write names no file, and an open another one."""
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise


def _find_target(path: Path) -> Path:
    """Returns where the links of a path lead; a link to an open file is not followed.

    Raises:
        IsADirectoryError: It is a folder.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink() or _is_open_file(path):
            break
        path = path.parent / path.readlink()
    if path.is_dir():  # renaming to it fails late, with another reason, and "." has no name
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path


def _is_written_in_place(path: Path) -> bool:
    """Returns whether a path is an open file, a device or a pipe."""
    return _is_open_file(path) or (path.exists() and not path.is_file())


def _is_open_file(path: Path) -> bool:
    """Returns whether a path stands for an open file of a process: ``/dev/stdout`` leads to one."""
    return str(path.parent.resolve()).startswith(("/proc/", "/dev/fd"))


def _write_in_place(path: Path, content: bytes) -> None:
    own = path.exists() and str(path.parent.resolve()) in ("/dev/fd", f"/proc/{os.getpid()}/fd")
    # A file of this process is not opened again: what it prints afterwards would begin at the old position, over the content.
    with open(int(path.name), "wb", closefd=False) if own else path.open("ab") as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".fmnist-{os.getpid()}-{threading.get_ident()}")  # as short a name as any file may have
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # already gone after the renaming


def write_together(folder: Path, files: Mapping[str, bytes], remove: Iterable[str] = ()) -> None:
    """Writes several files into a folder, which is created if it does not exist.

    All are completed in hidden folders beside their targets before the first one is put in place, so a full disk changes
    nothing. Links, devices and pipes stay, and leftovers are removed, as by ``write_atomically``.

    Args:
        folder: Folder of the files.
        files: Contents by path in the folder, in the order in which they are put in place.
        remove: Paths of earlier files that are removed before.

    Raises:
        OSError: The folder or a file, which ``filename`` holds, cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hidden: dict[Path, Path] = {}
    complete: dict[str, tuple[Path, Path]] = {}
    with ExitStack() as stack:
        for file, data in files.items():
            with _naming(folder / file):
                target = _find_target(folder / file)
                if _is_written_in_place(target):
                    continue
                parent = target.parent if (folder / file).is_symlink() else _nearest_folder(target.parent)
                if parent not in hidden:
                    hidden[parent] = stack.enter_context(_hidden_folder(parent))
                complete[file] = hidden[parent] / str(len(complete)), target
                _replace(complete[file][0], data)
        for file in remove:
            (folder / file).unlink(missing_ok=True)
        for file, data in files.items():
            with _naming(folder / file):
                if file in complete:
                    path, target = complete[file]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
                else:
                    write_atomically(folder / file, data)


@contextmanager
def _hidden_folder(parent: Path) -> Iterator[Path]:
    """Creates a folder in which files are completed, and removes it in the end."""
    import tempfile  # slow to import, and needed only here

    _remove_leftovers(parent.absolute())
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=parent) as name:
        yield Path(name)


@cache  # once for each folder: one of many images would be searched for each of them
def _remove_leftovers(folder: Path) -> None:
    """Removes the temporary files and folders that killed processes left in a folder."""
    with suppress(OSError):  # a folder that can be written, but not read
        for path in folder.iterdir():
            if not _is_left_over(path):
                continue
            if path.name.startswith(_UNFINISHED):
                import shutil  # slow to import, and needed only here

                shutil.rmtree(path, ignore_errors=True)  # ignores a file, too
            else:
                with suppress(OSError):  # removed by another process, of another user, or a folder
                    path.unlink()


def _is_left_over(path: Path) -> bool:
    name = _TEMPORARY.fullmatch(path.name)
    try:
        if name is None or time.time() - path.lstat().st_mtime < _ABANDONED_SECONDS:
            return False
    except OSError:  # removed by another process
        return False
    process = name["process"]
    # A stopped process may continue. The same number as ours is of an earlier start of a container.
    return process is None or int(process) == os.getpid() or not Path("/proc", process).exists()


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
        raise FileError(f"cannot write into {folder} ({reason_of(error)}); name another folder") from error


def check_folder(folder: Path) -> None:
    """Checks that a folder could be written, before long work; unlike ``make_folder``, creates nothing.

    Raises:
        FileError: The folder, or its nearest parent that exists, cannot be written into.
    """
    make_folder(_nearest_folder(folder))


def _nearest_folder(folder: Path) -> Path:
    """Returns a folder, or the nearest of its parents that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
