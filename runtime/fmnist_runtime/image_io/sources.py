"""Sources of images: files, folders, standard input and images in memory. Imports no module that is slow to import."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fmnist_runtime.errors import printable, reason_of
from fmnist_runtime.image_io.left_out import EXTENSIONS, describe_hidden, is_hidden, is_passed_over

if TYPE_CHECKING:
    from fmnist_runtime.image_io.decode import Picture

__all__ = [
    "EXTENSIONS",
    "Source",
    "count_pictures",
    "describe_hidden",
    "expand",
    "find_images",
    "is_hidden",
]


class Source(NamedTuple):
    """One image to read, or a folder without images."""

    name: str
    """Name for messages and answers."""
    picture: "Picture"
    """A path, or the caller's image in memory."""
    error: str | None = None
    """Reason why there is no image to read; None where there is one."""


def expand(
    pictures: Iterable["Picture"], *, report: bool = False, output: str | Path | None = None
) -> Iterator[Source]:
    """Yields every image in the order given; a folder stands for all images below it, ``-`` for standard input.

    Args:
        pictures: Paths, or images in memory.
        report: Whether to log a line for each folder from which names were left out (see ``is_hidden``).
        output: Folder of the caller's own images, which is left out where it is below a folder.
    """
    for index, picture in enumerate(pictures):
        if not isinstance(picture, str | os.PathLike):
            yield Source(f"[{index}]", picture)
            continue
        try:
            name = os.fsdecode(picture)
        except Exception as error:  # a path-like object may be of any class of the caller
            yield Source(f"[{index}]", picture, f"cannot be read: {type(error).__name__}: {reason_of(error)}")
            continue
        if name == "-" or not os.path.isdir(name):  # noqa: PTH112 (Path.is_dir raises for a name too long)
            yield Source(name, name)
            continue
        found = False
        hidden: list[str] = []
        for path in map(str, find_images(name, hidden, output)):
            found = True
            yield Source(path, path)
        if not found:
            photos = [path for path in hidden if is_passed_over(path)]
            hidden = sorted(set(hidden).difference(photos))
            left_out = f"; {describe_hidden(photos)}" if photos else ""
            yield Source(name, name, f"the folder holds no pictures{left_out}")
        if hidden and report:
            import logging  # not at start-up

            logging.getLogger(__name__).warning("%s: %s", printable(name), describe_hidden(hidden))


def count_pictures(pictures: Iterable["Picture"], output: str | Path | None = None) -> int:
    """Returns the number of answers for these sources; searches folders as ``expand`` does, and keeps no names in memory."""
    return sum(1 for _ in expand(pictures, output=output))


def find_images(
    folder: str | Path, hidden: list[str] | None = None, output: str | Path | None = None
) -> Iterator[Path]:
    """Yields the images below a folder in sorted order, with one directory's names in memory at a time.

    Hidden names (see ``is_hidden``), pipes and devices are left out, and links to folders are not followed. A folder that
    cannot be read is yielded as if it were an image, so that ``open_image`` reports the reason.

    Args:
        folder: Folder to search; its own name may be anything.
        hidden: List to which the paths that are left out are appended: hidden images and folders, links to folders or to
            what cannot be reached, and photos in files of other names (see ``is_passed_over``).
        output: Folder below it that is left out, too, because the caller writes images into it.
    """
    root = os.fspath(folder)
    waiting = [("", [root], {root})]  # folder, its names still to come in reverse order, those that are folders
    while waiting:
        parent, names, folders = waiting[-1]
        if not names:
            waiting.pop()
            continue
        name = names.pop()
        path = os.path.join(parent, name)  # noqa: PTH118 (a Path would take longer than the rest of the loop)
        if name in folders:
            if output is not None and parent and _is_same(path, output):
                if hidden is not None:
                    hidden.append(path)
                continue
            with suppress(OSError):
                waiting.append((path, *_list_folder(path, hidden)))
                continue
        yield Path(path)


def _is_same(path: str, other: str | Path) -> bool:
    try:
        return os.path.samefile(path, other)  # noqa: PTH121 (see find_images)
    except OSError:
        return False


def _list_folder(folder: str, hidden: list[str] | None) -> tuple[list[str], set[str]]:
    """Returns the names of images and folders in reverse order, and which of them are folders; see ``find_images``."""
    names, folders = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:  # keeps names only: a folder may hold a million
            is_folder = entry.is_dir(follow_symlinks=False)
            is_content = is_folder or _is_image(entry)
            if is_hidden(entry.name) or not is_content:
                if hidden is not None and (is_content or _is_worth_a_line(entry)):
                    hidden.append(entry.path)
                continue
            if is_folder:
                folders.add(entry.name)
            names.append(entry.name)
    names.sort(reverse=True)
    return names, folders


def _is_worth_a_line(entry: "os.DirEntry[str]") -> bool:
    """Returns whether the user may expect answers for what is neither an image nor a folder."""
    try:
        return (entry.is_symlink() and entry.is_dir()) or (entry.is_file() and is_passed_over(entry.path))
    except OSError:  # a link that leads to itself, into a private folder, or to a drive that does not answer
        return True


def _is_image(entry: "os.DirEntry[str]") -> bool:
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:  # noqa: PTH122 (see find_images)
        return False
    # A broken link counts, so that opening it reports the error. os.path accepts names for which Path raises.
    regular = entry.is_file(follow_symlinks=False)
    return regular or os.path.isfile(entry.path) or not os.path.exists(entry.path)  # noqa: PTH110, PTH113
