"""Inputs of ``fmnist-infer`` other than plain paths: quoted patterns, lists of paths, and a watched folder."""

import codecs
import glob
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fmnist_runtime.batching.batch import Classify, to_answers
from fmnist_runtime.console import printable
from fmnist_runtime.errors import FileError, reason_of
from fmnist_runtime.files import standard_input
from fmnist_runtime.image_io.left_out import is_passed_over, is_unfinished, starts_picture
from fmnist_runtime.image_io.sources import describe_hidden, expand, find_images
from fmnist_runtime.prediction import Answer

__all__ = ["FolderWatch", "expand_patterns", "read_paths", "watch_answers"]

_BATCH = 16
"""Images of one model call in a watched folder: more would delay the first answers."""
_RETRY_SECONDS = 2.0
"""Seconds without a change after which an unreadable image is reported: a program may pause while it writes the file."""
_LONGEST_PATH = 1 << 16
"""Largest length of a path in bytes, twice that of any system. Without a limit, a file without line ends fills the memory."""
_HAS_NULL = (
    "--files-from: a NUL byte in the list: add --null if it ends each path; save the list as UTF-8 if it is UTF-16"
)
_BLOCK = 1 << 16
"""Bytes read at a time from a list of paths."""
_ANY_FOLDERS = re.compile(r"(?<![^/{0}])\*\*(?:[/{0}]+|$)".format(re.escape(os.sep)))
"""The part ``**`` of a pattern, with the separators after it."""


def expand_patterns(photos: Iterable[str]) -> Iterator[str]:
    """Yields paths; replaces a pattern (``*``, ``?``, ``[...]``, ``**``) by its matches, sorted.

    ``**`` stands for any number of folders, but for no links to folders: those may form loops. At the end of a pattern it
    stands for all files below. An argument that is the name of an existing file is not a pattern. A pattern without a match
    is yielded unchanged, so that it is reported as a missing file.
    """
    for photo in photos:
        if os.path.lexists(photo):
            yield photo
        else:
            yield from sorted(set(_matches(photo))) or [photo]


def _matches(pattern: str) -> Iterator[str]:
    found = _ANY_FOLDERS.search(pattern)
    if found is None:
        yield from glob.glob(pattern)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        return
    start, rest = pattern[: found.start()], pattern[found.end() :]
    for root in glob.glob(start) if start else [""]:  # noqa: PTH207
        for folder, folders, files in os.walk(root or os.curdir):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = os.path.relpath(folder, root or os.curdir)
            inside = root if below == os.curdir else os.path.join(root, below, "")  # noqa: PTH118 (keeps the separator)
            if rest:
                yield from _matches(glob.escape(inside) + rest)
            else:
                yield from (inside + name for name in files if not name.startswith("."))


def read_paths(file: str, separator: bytes = b"\n") -> Iterator[str]:
    """Yields the paths in a file as they arrive; ``-`` is standard input. Empty lines are left out, and a byte order mark.

    Args:
        file: Path of the list.
        separator: Byte after each path: NUL, or a line feed; with the latter, a carriage return ends a path, too.

    Raises:
        FileError: The list cannot be read or is a picture, has a NUL byte that is not the separator, or has a line, or a row
            of empty lines, of more than ``_LONGEST_PATH`` bytes.
    """
    try:
        with ExitStack() as stack:
            stream = standard_input() if file == "-" else stack.enter_context(Path(file).open("rb"))
            for number, line in enumerate(_split(stream, separator)):
                if not number and starts_picture(line):
                    raise FileError(
                        f"--files-from: {file}: a picture, not a list of paths; name it without --files-from"
                    )
                if separator != b"\0" and b"\0" in line:
                    raise FileError(_HAS_NULL)
                if path := line if number else line.removeprefix(codecs.BOM_UTF8):
                    yield os.fsdecode(path)
    except OSError as error:
        raise FileError(f"--files-from: {file}: cannot be read: {reason_of(error)}") from error


def _split(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest, empty = b"", 0
    lines = separator == b"\n"
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)  # read1 returns what a pipe holds so far
    while block := read(_BLOCK):
        joined = rest + block
        *complete, rest = (joined.replace(b"\r", b"\n") if lines else joined).split(separator)
        yield from complete
        empty = 0 if rest or any(complete) else empty + len(block)
        if max(len(rest), empty) > _LONGEST_PATH:
            raise FileError(
                f"--files-from: a line has more than {_LONGEST_PATH:,} bytes, so the file is not a list of paths"
                if rest
                else f"--files-from: no path in {_LONGEST_PATH:,} bytes, so the file is not a list of paths"
            )
    yield rest


class _FileState(NamedTuple):
    """State of one file in a watched folder."""

    signature: tuple[int, int]
    """Modification time in nanoseconds, and size in bytes."""
    since: float
    """Clock time at which this signature was first seen, in seconds."""
    done: bool
    """Whether ``poll`` has returned the image, or the image was in the folder at the beginning."""


class FolderWatch:
    """Finds images that are added to a folder, each once; a replaced or renamed file counts as a new image.

    Images that are in the folder at the beginning, and hidden names (see ``is_hidden``), are left out. The number of hidden
    names at the beginning is logged as a warning. A file is complete if it is not empty, and its size and modification time
    have not changed for ``interval`` seconds. While the folder is gone, such as a drive that is not mounted, the watch waits,
    and knows the images when they are back.

    Args:
        folder: Folder to watch, with all folders below it.
        interval: Seconds between two scans, see ``watch_answers``; also the time after which a file is complete.
        clock: Returns the time in seconds.
        output: Folder below it that is left out, because the caller writes images into it.

    Raises:
        FileError: There is no such folder, or it is a file.
    """

    def __init__(
        self, folder: Path, interval: float, clock: Callable[[], float] = time.monotonic, *, output: Path | None = None
    ) -> None:
        if not folder.is_dir():
            cause = "not a folder" if folder.exists() else "no such folder"
            raise FileError(f"--watch: {folder}: {cause}")
        self.interval = interval
        self._folder, self._clock, self._output = folder, clock, output
        self._passed_over: dict[str, bool] = {}
        hidden: list[str] = []
        self._root, self._away = _identity(folder), dict[str, _FileState]()
        self._known = {path: _FileState(signature, clock(), True) for path, signature in self._signatures(hidden)}
        if hidden:
            self._report(hidden)
            self._passed_over = dict.fromkeys(hidden, True)

    def poll(self) -> list[str]:
        """Returns the images that are complete and were not returned before, sorted."""
        root = _identity(self._folder)
        if root != self._root:
            if root is None:
                name = printable(str(self._folder))
                logging.getLogger(__name__).warning("%s: the folder is gone; waiting for it to come back", name)
            self._root, self._away = root, self._known or self._away
        now, known, ready = self._clock(), {}, []
        hidden: list[str] = []
        found = list(self._signatures(hidden))
        if root is None or root != _identity(self._folder):  # or it has gone during the scan
            return []
        for path, signature in found:
            state = self._known.get(path) or self._away.get(path)
            if state is None or state.signature != signature:
                state = _FileState(signature, now, False)
            elif not state.done and signature[1] and now - state.since >= self.interval:
                ready.append(path)
                state = state._replace(done=True)
            known[path] = state
        self._known = known
        self._report_added(hidden)
        return ready

    def retry(self, path: str) -> bool:
        """Schedules an unreadable image for another ``poll``; returns False if it has not changed for 2 seconds."""
        state = self._known.get(path)
        if state is None or self._clock() - state.since >= _RETRY_SECONDS:
            return False
        self._known[path] = state._replace(done=False)
        return True

    def _report_added(self, hidden: list[str]) -> None:
        """Logs photos in files of other names, each once: at its second scan, because programs rename what they have copied."""
        added = [path for path in hidden if self._passed_over.get(path) is False and is_passed_over(path)]
        if added := [path for path in added if not is_unfinished(path)]:
            self._report(added)
        self._passed_over = {path: path in self._passed_over for path in hidden}

    def _report(self, hidden: list[str]) -> None:
        logging.getLogger(__name__).warning("%s: %s", printable(str(self._folder)), describe_hidden(hidden))

    def _signatures(self, hidden: list[str] | None = None) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in map(str, find_images(self._folder, hidden, self._output)):
            try:
                status = os.stat(path)  # noqa: PTH116 (find_images yields names that Path.stat may refuse)
            except OSError:
                try:
                    status = os.lstat(path)  # a link to nowhere is an unreadable image
                except OSError:  # the file was removed after it was listed
                    continue
            yield path, (status.st_mtime_ns, status.st_size)  # numbers of files are not kept on FAT


def _identity(folder: Path) -> tuple[int, int] | None:
    """Returns numbers that another folder at the same path would not have; None if there is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def watch_answers(
    classify: Classify, watch: FolderWatch, sleep: Callable[[float], None] = time.sleep
) -> Generator[Answer, None, None]:
    """Yields an answer for each image that is added to the folder; ends only by an exception such as an interrupt.

    Args:
        classify: See ``batch.to_answers``.
        watch: The folder.
        sleep: Waits for a number of seconds.
    """
    while True:
        sources = list(expand(watch.poll()))
        for start in range(0, len(sources), _BATCH):
            for answer in to_answers(sources[start : start + _BATCH], classify):
                if answer.error is None or not watch.retry(answer.path):
                    yield answer
        sleep(watch.interval)
