"""Which pictures there are: files, folders and standard input, as they were asked for; and folders for what is written.

Imports nothing heavy.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fmnist_runtime.errors import ConfigError

__all__ = ["EXTENSIONS", "Source", "count_pictures", "expand", "find_images", "make_folder"]

EXTENSIONS = frozenset([
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".icns", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp", ".xbm", ".xpm",
])  # fmt: skip
"""What counts as a picture in a folder; a file that is named is opened whatever it is called. Telephones' HEIC is among
them so that it is reported, not passed over, where Pillow does not read it."""


class Source(NamedTuple):
    """One picture to be read, or a folder that holds none."""

    name: str
    path: str
    error: str | None = None


def expand(sources: Iterable[str]) -> Iterator[Source]:
    """Every picture, in the order given; ``-`` is standard input, a folder means all pictures below it."""
    for name in sources:
        if name == "-" or not os.path.isdir(name):  # noqa: PTH112 (Path.is_dir raises for a name too long)
            yield Source(name, name)
            continue
        found = False
        for path in map(str, find_images(name)):
            found = True
            yield Source(path, path)
        if not found:
            yield Source(name, name, "the folder holds no pictures")


def count_pictures(sources: Iterable[str]) -> int:
    """How many answers there will be for these sources; folders are searched through."""
    return sum(1 for _ in expand(sources))


def find_images(folder: str | Path) -> Iterator[Path]:
    """Yield the pictures below a folder in sorted order, one directory's names in memory at a time.

    Links to folders are not followed; pipes and devices are no pictures. A folder that cannot be read is itself yielded:
    ``open_image`` says why.
    """
    root = os.fspath(folder)
    waiting = [
        ("", [root], {root})
    ]  # a folder, the names in it that are still to come, last first, and which are folders
    while waiting:
        parent, names, folders = waiting[-1]
        if not names:
            waiting.pop()
            continue
        name = names.pop()
        path = os.path.join(parent, name)  # noqa: PTH118 (a Path would take longer than all else here)
        if name in folders:
            with suppress(OSError):
                waiting.append((path, *_listed(path)))
                continue
        yield Path(path)


def _listed(folder: str) -> tuple[list[str], set[str]]:
    """The names of the pictures and folders in a folder, last first; and which of them are folders."""
    names, folders = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:  # only the names are kept: a folder may hold a million
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
            elif not _is_picture(entry):
                continue
            names.append(entry.name)
    names.sort(reverse=True)
    return names, folders


def _is_picture(entry: os.DirEntry) -> bool:
    stem, dot, extension = entry.name.rpartition(".")
    if not stem or (dot + extension).lower() not in EXTENSIONS:
        return False
    # A link to nowhere is one too: it is reported when it is opened. os.path raises for none of the names that Path does.
    regular = entry.is_file(follow_symlinks=False)
    return regular or os.path.isfile(entry.path) or not os.path.exists(entry.path)  # noqa: PTH110, PTH113


def make_folder(folder: Path) -> None:
    """Make a folder where there is none; for whoever wants to know beforehand that it can be written into.

    Raises:
        ConfigError: it cannot.
    """
    import tempfile  # not for those who only look for pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write into {folder} ({error.strerror or error}); name another folder") from error
