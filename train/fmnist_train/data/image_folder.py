"""A data set of one's own: pictures in one folder for each class.

Either ``PATH/train/<class>/*`` and ``PATH/test/<class>/*``, or ``PATH/<class>/*``, of which a fixed, stratified 20% is
the test split. Every picture becomes 28×28 by the same code that the device runs.
"""

from pathlib import Path

import numpy as np
from torchvision.datasets import ImageFolder

from fmnist_runtime.errors import DataError, ImageError
from fmnist_runtime.image_io.decode import EXTENSIONS, open_image
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_train.data.splits import Split, stratified_draw

__all__ = ["ClassFolders"]

TEST_SHARE = 0.2
SEED = 0
"""Of the draw of the test split: the same pictures in every run."""


class ClassFolders:
    """Finds the pictures when it is made; reads those of one split when asked to.

    Raises:
        DataError: no class folders, fewer than two classes, an empty class, or classes that differ between the splits.
    """

    def __init__(self, path: Path) -> None:
        halves = {name: path / name for name in ("train", "test")}
        present = [name for name, folder in halves.items() if folder.is_dir()]
        if len(present) == 1:
            (missing,) = halves.keys() - set(present)
            raise DataError(f"{path}: has a folder '{present[0]}' but no folder '{missing}'; make both, or neither")
        if present:
            folders = {name: _find(folder) for name, folder in halves.items()}
            self.pictures = {name: folder.samples for name, folder in folders.items()}
            if folders["train"].classes != folders["test"].classes:
                differing = sorted(set(folders["train"].classes) ^ set(folders["test"].classes))
                raise DataError(f"{path}: train and test differ in their classes: {', '.join(differing)}")
        else:
            folders = {"train": _find(path)}
            self.pictures = _divide(folders["train"].samples)
        self.labels = tuple(folders["train"].classes)
        if len(self.labels) < 2:
            raise DataError(f"{path}: has one class folder only; a classifier needs at least two")

    def load(self, part: str) -> Split:
        """Read ``"train"`` or ``"test"``.

        Raises:
            DataError: a picture cannot be read.
        """
        pictures = self.pictures[part]
        images = np.stack([_read(Path(file)) for file, _ in pictures])
        return Split(images, np.array([label for _, label in pictures], np.int64))


def _find(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder), is_valid_file=lambda name: Path(name).suffix.lower() in EXTENSIONS)
    except OSError as error:
        raise DataError(f"{folder}: must hold one folder of pictures for each class ({error})") from error


def _divide(samples: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    labels = np.array([label for _, label in samples])
    count = round(TEST_SHARE * len(samples))
    drawn = set(stratified_draw(labels, count, SEED).tolist())
    parts = {
        "train": [sample for index, sample in enumerate(samples) if index not in drawn],
        "test": [sample for index, sample in enumerate(samples) if index in drawn],
    }
    if {label for _, label in parts["train"]} != {label for _, label in parts["test"]}:
        raise DataError("too few pictures to hold out 20% of every class; add some, or make folders 'train' and 'test'")
    return parts


def _read(path: Path) -> np.ndarray:
    try:
        return to_network_input(open_image(path))
    except ImageError as error:
        raise DataError(f"{path}: cannot be read as a picture ({error})") from error
