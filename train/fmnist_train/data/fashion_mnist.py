"""The files of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): their names, their checksums, and reading them."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fmnist_runtime.errors import DataError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.data.csv import read_csv
from fmnist_train.data.idx import find_idx, read_idx
from fmnist_train.data.splits import Split

__all__ = ["CSV_FILES", "IDX_FILES", "PUBLISHED", "read_csv_part", "read_idx_part", "reader_for"]

logger = logging.getLogger(__name__)

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CSV_FILES = {"train": "fashion-mnist_train.csv", "test": "fashion-mnist_test.csv"}
PUBLISHED = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the decompressed files as published."""


def reader_for(folder: Path) -> Callable[[Path, str], Split] | None:
    """How to read this folder: as IDX, as CSV, or (None) not at all, because no format is complete in it."""
    if all(find_idx(folder, name) for pair in IDX_FILES.values() for name in pair):
        return read_idx_part
    if all((folder / name).is_file() for name in CSV_FILES.values()):
        return read_csv_part
    return None


def read_idx_part(folder: Path, part: str, published: bool = True) -> Split:
    """Read ``"train"`` or ``"test"`` from IDX files, gzipped or not.

    Args:
        folder: where they are.
        part: which of the two.
        published: whether to warn if the files are not the published ones.

    Raises:
        DataError: damaged, truncated, mislabelled or of another shape.
    """
    arrays = []
    for name, dimensions in zip(IDX_FILES[part], (3, 1), strict=True):
        path = find_idx(folder, name)
        if path is None:
            raise DataError(f"{folder / name}: no such file any more")
        array, digest = read_idx(path, dimensions)
        if published and digest != PUBLISHED[name]:
            logger.warning("%s: not the published Fashion-MNIST (SHA-256 %s...), taken as it is", path, digest[:12])
        arrays.append(array)
    return _checked(folder / IDX_FILES[part][0], *arrays)


def read_csv_part(folder: Path, part: str) -> Split:
    """Read ``"train"`` or ``"test"`` from the Kaggle CSV pair; raises as ``read_idx_part`` does."""
    path = folder / CSV_FILES[part]
    return _checked(path, *read_csv(path))


def _checked(path: Path, images: np.ndarray, labels: np.ndarray) -> Split:
    if not len(labels):
        raise DataError(f"{path}: holds no images")
    if len(images) != len(labels):
        raise DataError(f"{path}: {len(images):,} images but {len(labels):,} labels; the files do not belong together")
    if labels.max() >= len(DATASET_LABELS):
        raise DataError(f"{path}: a label is {labels.max()}, but the classes are 0 to {len(DATASET_LABELS) - 1}")
    try:
        return Split(images, labels.astype(np.int64))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
