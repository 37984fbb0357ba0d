"""A data set of images in one folder for each class.

The layout is ``PATH/train/<class>/*`` with ``PATH/test/<class>/*``, or ``PATH/<class>/*``. In the second layout, about a fifth of
each class is the test split. A hash of each file's content chooses it, so images that are added, renamed or removed later
leave the others in their split. The device's preprocessing reduces every image to 28×28 pixels.
"""

import logging
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fmnist_runtime.console import printable
from fmnist_runtime.errors import DataError, ImageError, reason_of
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.left_out import describe_hidden, is_hidden, is_passed_over
from fmnist_runtime.image_io.sources import EXTENSIONS, find_images
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_train.data.folder_checks import Sample, hash_files, of_equal_size, report_copies, report_layout
from fmnist_train.data.splits import Split
from fmnist_train.files import is_file, is_folder

__all__ = ["ClassFolders"]

logger = logging.getLogger(__name__)

TEST_SHARE = 0.2
"""Mean share of the images in the test split where there are no folders ``train`` and ``test``."""

_SHOWN_FAULTS = 10
"""Largest number of further unreadable images that a message names."""


class ClassFolders:
    """Images in class folders. The constructor lists their paths, and ``load`` reads those of one split.

    Hidden names, links to folders, copies of an image in its class, and what is in no class folder are left out, with warnings in
    the log. An image in two classes or in both splits also gives a warning, as do suspicious names of classes.

    Raises:
        DataError: There are no class folders, fewer than two classes, an empty class, a class that cannot be divided, a name
            with control characters, or classes that differ between the splits.
    """

    def __init__(self, path: Path) -> None:
        outside: list[Path] = []
        hidden: list[str] = []
        halves = _find_splits(path, hidden, outside)
        present = list(halves)
        if len(present) == 1:
            (missing,) = {"train", "test"} - set(present)
            raise DataError(f"{path}: has a folder '{present[0]}' but no folder '{missing}'; make both, or neither")
        found = {name: _find(folder, hidden, outside) for name, folder in (halves or {"train": path}).items()}
        if hidden:
            logger.warning("%s: %s", printable(str(path)), describe_hidden(hidden))
        self.labels = tuple(found["train"])
        report_layout(path, self.labels, found["train"], outside, splits=bool(present))
        if present and self.labels != tuple(found["test"]):
            raise DataError(f"{path}: train and test differ in their classes: {_differences(found)}")
        if len(self.labels) < 2:
            raise DataError(f"{path}: has one class folder only; a classifier needs at least two{_hint(path)}")
        images = [image for classes in found.values() for files in classes.values() for image in files]
        digests = hash_files(of_equal_size(images) if present else images)
        parts = found if present else _divide(path, found["train"], digests)
        self.samples = {name: _number(classes.values()) for name, classes in parts.items()}
        self._copies = report_copies(path, self.samples, digests)
        self._splits: dict[str, Split] = {}

    def load(self, part: str) -> Split:
        """Reads ``"train"`` or ``"test"``; with the former also the latter, so that its faults are found before training.

        Raises:
            DataError: An image cannot be read. One message names the images of both splits.
        """
        faults: list[str] = []
        for name in ("train", "test") if part == "train" else ("test",):
            if name not in self._splits:
                read = [(file, _read(file, faults), label) for file, label in self.samples[name]]
                kept = [(image, label) for file, image, label in read if image is not None and file not in self._copies]
                if not faults:
                    labels = np.array([label for _, label in kept], np.int64)
                    self._splits[name] = Split(np.stack([image for image, _ in kept]), labels)
        if faults:
            raise DataError(_list_faults(faults))
        return self._splits[part]


def _read(file: Path, faults: list[str]) -> np.ndarray | None:
    """Returns the network's input uint8 ``[28, 28]``; appends a message to the faults if the image cannot be read."""
    try:
        return to_network_input(open_image(file))
    except ImageError as error:
        faults.append(f"{file}: cannot be read as an image ({error})")
        return None


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({reason_of(error)})") from error


def _find_splits(path: Path, hidden: list[str], outside: list[Path]) -> dict[str, Path]:
    """Returns the folders ``train`` and ``test``, in upper or lower case, as a Mac finds them.

    If there is one, the other folders and images are appended to ``outside``, and photos in files of other names to
    ``hidden``.
    """
    entries = _list(path)
    by_name = {
        entry.name.lower(): entry for entry in entries if is_folder(entry)
    }  # lower case sorts last, and is preferred
    splits: dict[str, Path] = {name: by_name[name] for name in ("train", "test") if name in by_name}
    if splits:
        others = (entry for entry in entries if entry not in splits.values() and not is_hidden(entry.name))
        outside.extend(entry for entry in others if is_folder(entry) or _has_image_name(entry))
        hidden.extend(str(entry) for entry in entries if is_file(entry) and is_passed_over(str(entry)))
    return splits


def _has_image_name(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _holds_runs(folder: Path) -> bool:
    """Returns whether a folder is a run or contains one, such as ``runs``: its plots are no class."""
    return any(any(folder.glob(pattern)) for pattern in ("best.safetensors", "*/best.safetensors"))


def _find(folder: Path, hidden: list[str], outside: list[Path]) -> dict[str, list[Path]]:
    """Returns the images of each class folder, both in sorted order."""
    classes: dict[str, list[Path]] = {}
    for entry in _list(folder):
        if not is_folder(entry):
            if _has_image_name(entry) and not is_hidden(entry.name):
                outside.append(entry)
            elif is_file(entry) and is_passed_over(str(entry)):
                hidden.append(str(entry))
            continue
        if is_hidden(entry.name) or entry.is_symlink():
            hidden.append(str(entry))
            continue
        if _holds_runs(entry):
            outside.append(entry)
            continue
        if not entry.name.isprintable():
            raise DataError(
                f"{printable(str(entry))}: a class name with a character that is not shown, or a space of another kind; "
                "rename the folder"
            )
        name = unicodedata.normalize("NFC", entry.name)  # a Mac's archives have decomposed names
        images = sorted(find_images(entry, hidden), key=lambda path: (str(path.parent), path.name))
        classes[name] = [*classes.get(name, ()), *images]
    if empty := [name for name, images in classes.items() if not images]:
        left_out = [path for path in hidden if (folder / empty[0]) in Path(path).parents]
        found = f" ({describe_hidden(left_out)})" if left_out else ""
        raise DataError(f"{folder}: no images in the class folder '{empty[0]}'{found}; add some, or remove it")
    if not classes:
        raise DataError(f"{folder}: must hold one folder of images for each class")
    return dict(sorted(classes.items()))  # by the composed names: both splits have the same order


def _number(classes: Iterable[Sequence[Path]]) -> list[Sample]:
    return [(image, label) for label, images in enumerate(classes) for image in images]


def _differences(found: Mapping[str, Iterable[str]]) -> str:
    """Returns the classes that only one split has, each with the name of that split."""
    train, test = set(found["train"]), set(found["test"])
    return ", ".join(f"{name} (only in {'train' if name in train else 'test'})" for name in sorted(train ^ test))


def _divide(
    path: Path, classes: Mapping[str, Sequence[Path]], digests: Mapping[Path, bytes]
) -> dict[str, dict[str, list[Path]]]:
    """Returns the training and test images of each class. Images without a digest are test images, which are always read.

    Raises:
        DataError: A class has fewer than two different images.
    """
    parts: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    for name, images in classes.items():
        known = {digests[image] for image in images if image in digests}
        if len(known) < 2:
            raise DataError(_explain_few(path, name, images))
        kept = known - _draw(known)
        parts["train"][name] = [image for image in images if digests.get(image) in kept]
        parts["test"][name] = [image for image in images if digests.get(image) not in kept]
    return parts


def _draw(digests: Collection[bytes]) -> set[bytes]:
    """Returns the digests below ``TEST_SHARE`` of the largest value; of two or more, at least one and not all."""
    ordered = sorted(digests)
    below = bisect_left(ordered, int(TEST_SHARE * 2**64).to_bytes(8, "big"))
    return set(ordered[: min(max(below, 1), len(ordered) - 1)])


def _explain_few(path: Path, name: str, images: Sequence[Path]) -> str:
    """Returns the message about a class with fewer than two different images: those that cannot be read, or their number."""
    faults: list[str] = []
    for image in images:
        _read(image, faults)
    if faults:
        return _list_faults(faults)
    copies = ", all copies of one another" if len(images) > 1 else ""
    return (
        f"{path}: too few images to hold out a test image of every class: '{name}' has {len(images)}{copies}; "
        "add some, or make folders 'train' and 'test'"
    )


def _hint(path: Path) -> str:
    """Returns advice if the only class folder contains several folders, as after unpacking an archive; else an empty text."""
    folder = _folders(path)[0]
    inner = [entry.name for entry in _folders(folder)]
    return f"; '{folder}' holds folders itself ({', '.join(inner[:3])}): name that one" if len(inner) > 1 else ""


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if is_folder(entry) and not is_hidden(entry.name))


def _list_faults(faults: Sequence[str]) -> str:
    """Returns one line with the first fault, and the number and names of the other files."""
    names = [fault.partition(": cannot")[0] for fault in faults[1:]]
    if not names:
        return f"{faults[0]}; replace or remove the file"
    shown = ", ".join(names[:_SHOWN_FAULTS]) + (", ..." if len(names) > _SHOWN_FAULTS else "")
    return f"{faults[0]}; nor can {len(names):,} more: {shown}; convert or remove them"
