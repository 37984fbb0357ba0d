"""Warnings about a folder of class folders: copies of images, suspicious names, and what is in no class folder."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fmnist_runtime.console import counted, printable
from fmnist_runtime.image_io.limits import MAX_BYTES
from fmnist_train.files import is_file, is_folder

__all__ = ["Sample", "hash_files", "of_equal_size", "report_copies", "report_layout"]

logger = logging.getLogger(__name__)

Sample = tuple[Path, int]
"""Path of an image, and its class id."""


def report_layout(
    path: Path, labels: Sequence[str], classes: Mapping[str, Sequence[Path]], outside: Sequence[Path], *, splits: bool
) -> None:
    """Warns about a folder whose layout is probably not the intended one.

    Args:
        path: The data set's folder.
        labels: Names of the classes.
        classes: Training images by class.
        outside: Images and folders that are in no class folder, and so are left out.
        splits: Whether the class folders are in ``train`` and ``test``.
    """
    where = printable(str(path))
    if outside:
        logger.warning("%s: left out %s", where, _describe_outside(path, outside, splits=splits))
    for names in _similar(labels):
        logger.warning("%s: classes that differ only in case or spaces: %s; merge them if they are one", where, names)
    for label in labels:
        if _comparable(label).replace("’", "'") == "idon'tknow":
            logger.warning(
                "%s: the class '%s' has the name that rejected images get in tables; rename it", where, label
            )
    if len(classes) > 1 and (inner := _common_folders(classes)):
        logger.warning(
            "%s: every class folder holds the same folders (%s); if those are the classes, %s", where, inner, _SWAP
        )


def _describe_outside(path: Path, outside: Sequence[Path], *, splits: bool) -> str:
    """Returns what is in no class folder, with its number, and what to do."""
    folders = sum(map(is_folder, outside))
    kinds = ((folders, "folder"), (len(outside) - folders, "image"))
    what = " and ".join(counted(number, kind) for number, kind in kinds if number)
    shown = printable(str(outside[0].relative_to(path)))
    where = "no class folder of 'train' or 'test'" if splits else "no class folder"
    example = f": {shown}" if len(outside) == 1 else f", such as {shown}"
    return f"{what} in {where}{example}; to use images, move them into a class folder"


_SWAP = "put each split in a folder 'train' or 'test'"
"""Advice where the folders of splits were probably taken for classes."""


def _comparable(label: str) -> str:
    """Returns a name without differences of case and spaces."""
    return "".join(label.casefold().split())


def _similar(labels: Iterable[str]) -> list[str]:
    """Returns the names that are equal without case and spaces, quoted, in one text for each group."""
    groups = defaultdict(list)
    for label in labels:
        groups[_comparable(label)].append(f"'{label}'")
    return [", ".join(group) for group in groups.values() if len(group) > 1]


def _common_folders(classes: Mapping[str, Sequence[Path]]) -> str:
    """Returns the names of two or more folders that hold all images of every class; else an empty text."""
    inner = {frozenset(image.parent.name for image in images) for images in classes.values()}
    names = sorted(next(iter(inner), ()))
    return ", ".join(map(printable, names[:3])) if len(inner) == 1 and len(names) > 1 else ""


def report_copies(path: Path, parts: dict[str, list[Sample]], digests: Mapping[Path, bytes]) -> set[Path]:
    """Warns about files of the same bytes: in two classes, in both splits, and in one class of a split.

    Args:
        path: The data set's folder.
        parts: Images by split.
        digests: SHA-256 of all files that may have copies.

    Returns:
        Files to leave out: of copies in one class of a split, all but the one with the shortest name. Validation images are drawn
        from the training images, and would have copies among the rest.
    """
    places = [(file, label, part) for part, samples in parts.items() for file, label in samples]
    by_digest = defaultdict(list)
    for place, (file, *_) in enumerate(places):
        if file in digests:
            by_digest[digests[file]].append(place)
    groups = [group for group in by_digest.values() if len(group) > 1]
    in_two_classes = [group for group in groups if len({places[i][1] for i in group}) > 1]
    in_both_splits = [group for group in groups if len({places[i][2] for i in group}) > 1]
    for copies, key, fault, advice in (
        (in_two_classes, 1, "more than one class", "remove them from all but one"),
        (in_both_splits, 2, "both train and test", "the test accuracy is too high"),
    ):
        if copies:
            first = places[copies[0][0]]
            other = next(places[i] for i in copies[0] if places[i][key] != first[key])
            shown = " and ".join(printable(str(file.relative_to(path))) for file, *_ in (first, other))
            where = printable(str(path))
            logger.warning("%s: images in %s: %d, such as %s; %s", where, fault, len(copies), shown, advice)
    by_class = defaultdict(list)
    for number, group in enumerate(groups):
        for file, label, part in (places[i] for i in group):
            by_class[number, label, part].append(file)
    same = [sorted(files, key=lambda file: (len(file.name), file)) for files in by_class.values()]
    left_out = [file for files in same for file in files[1:]]
    if left_out:
        shown = printable(str(left_out[0].relative_to(path)))
        logger.warning("%s: left out %d copies within a class, such as %s", printable(str(path)), len(left_out), shown)
    return set(left_out)


def of_equal_size(files: Iterable[Path]) -> list[Path]:
    """Returns the files that have the size of another one, and so may be copies."""
    by_size = defaultdict(list)
    for file in files:
        if is_file(file):
            by_size[file.stat().st_size].append(file)
    return [file for group in by_size.values() if len(group) > 1 for file in group]


def hash_files(files: Iterable[Path]) -> dict[Path, bytes]:
    """Returns the SHA-256 of files, without those that cannot be read or are larger than any image: ``load`` reports them."""
    return {file: digest for file in files if (digest := _sha256(file)) is not None}


def _sha256(file: Path) -> bytes | None:
    try:
        if not is_file(file) or file.stat().st_size > MAX_BYTES:
            return None
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None
