"""A data set of images in one folder for each class.

The layout is ``PATH/train/<class>/*`` with ``PATH/test/<class>/*``, or ``PATH/<class>/*``. In the second layout, a fixed and
stratified draw of 20% is the test split. The device's preprocessing reduces every image to 28×28 pixels.
"""

import hashlib
import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fmnist_runtime.console import printable
from fmnist_runtime.errors import DataError, ImageError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.limits import MAX_BYTES
from fmnist_runtime.image_io.sources import describe_hidden, find_images, is_hidden
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_train.data.splits import Split, stratified_draw

__all__ = ["ClassFolders"]

logger = logging.getLogger(__name__)

TEST_SHARE = 0.2
"""Share of the images in the test split where there are no folders ``train`` and ``test``."""
SEED = 0
"""Seed of the draw of the test split, which is the same in every run."""

_SHOWN_FAULTS = 10
"""Largest number of further unreadable images that a message names."""

Sample = tuple[Path, int]
"""Path of an image, and its class id."""


class ClassFolders:
    """Images in class folders. The constructor lists their paths, and ``load`` reads those of one split.

    Hidden names and links to folders are left out, with one warning in the log. An image in two classes or in both splits
    also gives a warning.

    Raises:
        DataError: There are no class folders, fewer than two classes, an empty class, a name with control characters, or
            classes that differ between the splits.
    """

    def __init__(self, path: Path) -> None:
        halves = {name: path / name for name in ("train", "test")}
        present = [name for name, folder in halves.items() if folder.is_dir()]
        if len(present) == 1:
            (missing,) = halves.keys() - set(present)
            raise DataError(f"{path}: has a folder '{present[0]}' but no folder '{missing}'; make both, or neither")
        hidden: list[str] = []
        found = {name: _find(folder, hidden) for name, folder in (halves if present else {"train": path}).items()}
        if hidden:
            logger.warning("%s: %s", printable(str(path)), describe_hidden(hidden))
        self.labels = tuple(found["train"])
        if present and self.labels != tuple(found["test"]):
            differing = sorted(set(self.labels) ^ set(found["test"]))
            raise DataError(f"{path}: train and test differ in their classes: {', '.join(differing)}")
        if len(self.labels) < 2:
            raise DataError(f"{path}: has one class folder only; a classifier needs at least two{_hint(path)}")
        samples = {name: _number(classes.values()) for name, classes in found.items()}
        self.samples: dict[str, list[Sample]] = samples if present else _divide(path, samples["train"])
        _report_copies(path, self.samples)

    def load(self, part: str) -> Split:
        """Reads ``"train"`` or ``"test"``.

        Raises:
            DataError: An image cannot be read.
        """
        samples = self.samples[part]
        images, faults = [], []
        for file, _ in samples:
            try:
                images.append(to_network_input(open_image(file)))
            except ImageError as error:
                faults.append(f"{file}: cannot be read as an image ({error})")
        if faults:
            raise DataError(_list_faults(faults))
        return Split(np.stack(images), np.array([label for _, label in samples], np.int64))


def _find(folder: Path, hidden: list[str]) -> dict[str, list[Path]]:
    """Returns the images of each class folder, both in sorted order."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    classes: dict[str, list[Path]] = {}
    for entry in entries:
        if not entry.is_dir():
            continue
        if is_hidden(entry.name) or entry.is_symlink():
            hidden.append(str(entry))
            continue
        if not entry.name.isprintable():
            raise DataError(f"{printable(str(entry))}: a class name that cannot be printed; rename the folder")
        name = unicodedata.normalize("NFC", entry.name)  # a Mac's archives have decomposed names
        images = sorted(find_images(entry, hidden), key=lambda path: (str(path.parent), path.name))
        classes[name] = [*classes.get(name, ()), *images]
    if empty := [name for name, images in classes.items() if not images]:
        raise DataError(f"{folder}: no images in the class folder '{empty[0]}'; add some, or remove it")
    if not classes:
        raise DataError(f"{folder}: must hold one folder of images for each class")
    return classes


def _number(classes: Iterable[Sequence[Path]]) -> list[Sample]:
    return [(image, label) for label, images in enumerate(classes) for image in images]


def _divide(path: Path, samples: list[Sample]) -> dict[str, list[Sample]]:
    labels = np.array([label for _, label in samples])
    drawn = set(stratified_draw(labels, round(TEST_SHARE * len(samples)), SEED).tolist())
    parts = {
        "train": [sample for index, sample in enumerate(samples) if index not in drawn],
        "test": [sample for index, sample in enumerate(samples) if index in drawn],
    }
    if {label for _, label in parts["train"]} != {label for _, label in parts["test"]}:
        raise DataError(
            f"{path}: too few images to hold out 20% of every class; add some, or make folders 'train' and 'test'"
        )
    return parts


def _report_copies(path: Path, parts: dict[str, list[Sample]]) -> None:
    """Warns about files of the same bytes in two classes, and in both splits."""
    places = [(file, label, part) for part, samples in parts.items() for file, label in samples]
    groups = _same_content([file for file, _, _ in places])
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


def _same_content(files: Sequence[Path]) -> list[list[int]]:
    """Returns the positions of files with the same bytes, in groups; only files of equal size are read."""
    by_size = defaultdict(list)
    for place, file in enumerate(files):
        if file.is_file() and (size := file.stat().st_size) <= MAX_BYTES:  # no image is larger
            by_size[size].append(place)
    by_digest = defaultdict(list)
    for size, places in by_size.items():
        for place in places if len(places) > 1 else ():
            by_digest[size, _sha256(files[place])].append(place)
    return [group for group in by_digest.values() if len(group) > 1]


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # ``load`` reports the image
        return str(file)


def _hint(path: Path) -> str:
    """Returns advice if the only class folder contains several folders, as after unpacking an archive; else an empty text."""
    folder = _folders(path)[0]
    inner = [entry.name for entry in _folders(folder)]
    return f"; '{folder}' holds folders itself ({', '.join(inner[:3])}): name that one" if len(inner) > 1 else ""


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def _list_faults(faults: Sequence[str]) -> str:
    """Returns one line with the first fault, and the number and names of the other files."""
    names = [fault.partition(": cannot")[0] for fault in faults[1:]]
    if not names:
        return faults[0]
    shown = ", ".join(names[:_SHOWN_FAULTS]) + (", ..." if len(names) > _SHOWN_FAULTS else "")
    return f"{faults[0]}; nor can {len(names):,} more: {shown}; convert or remove them"
