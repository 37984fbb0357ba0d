"""The files of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): their names, their checksums, and reading them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fmnist_runtime.console import printable
from fmnist_runtime.errors import DataError
from fmnist_runtime.image_io.left_out import describe_hidden, is_archive, is_hidden, is_unfinished
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.data.csv import read_csv
from fmnist_train.data.idx import idx_sha256, read_idx
from fmnist_train.data.splits import Split
from fmnist_train.files import find_file, is_folder

__all__ = ["CSV_FILES", "IDX_FILES", "PUBLISHED", "missing_files", "read_csv_part", "read_idx_part", "reader_for"]

logger = logging.getLogger(__name__)

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Names of the images and of the labels of each part."""
CSV_FILES = {"train": "fashion-mnist_train.csv", "test": "fashion-mnist_test.csv"}
"""Name of the file of each part."""
PUBLISHED = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the published files, decompressed."""
_PUBLISHED_SETS = {
    "train": "0c3a2f6b4379fecaed9924f8ba83e878c49df2170e4208ceec2a4647dfdb162a",
    "test": "a85b429cf35b8d423f05ab711ea3e97bd96f60d83be87fc9f71d0d86f8c2f6c6",
}
"""``_unordered_sha256`` of the published images and labels."""


def reader_for(folder: Path) -> Callable[[Path, str], Split] | None:
    """Returns the function that reads a folder as IDX or CSV; None where neither format is complete."""
    if all(find_file(folder, name) for pair in IDX_FILES.values() for name in pair):
        return read_idx_part
    if all(find_file(folder, name) for name in CSV_FILES.values()):
        return read_csv_part
    return None


def read_idx_part(folder: Path, part: str, published: bool = True) -> Split:
    """Reads ``"train"`` or ``"test"`` from IDX files, gzipped or not.

    Args:
        folder: Folder of the files.
        part: Name of the part.
        published: Whether to log a warning about files whose checksums are not the published ones.

    Raises:
        DataError: A file is damaged, truncated or mislabeled, or its images have another shape.
    """
    arrays, paths, foreign = [], [], []
    for name, dimensions in zip(IDX_FILES[part], (3, 1), strict=True):
        path = _find(folder, name)
        array, digest = read_idx(path, dimensions)
        if published and digest != PUBLISHED[name]:
            foreign.append((path, digest))
        arrays.append(array)
        paths.append(path)
    images, labels = arrays
    split = _checked(paths, images, labels)
    if foreign:
        _warn(part, images, labels, foreign)
    return split


def read_csv_part(folder: Path, part: str) -> Split:
    """Reads ``"train"`` or ``"test"`` from Kaggle's two CSV files; warnings and errors as in ``read_idx_part``."""
    path = _find(folder, CSV_FILES[part])
    images, labels = read_csv(path)
    split = _checked([path], images, labels)
    digests = [idx_sha256(images), idx_sha256(labels)]
    if digests != [PUBLISHED[name] for name in IDX_FILES[part]]:
        _warn(part, images, labels, [(path, digests[0])])
    return split


def missing_files(folder: Path) -> str:
    """Returns a clause with the names of the files that are missing in a folder."""
    idx = [name for pair in IDX_FILES.values() for name in pair]
    for kind, names in (("IDX", idx), ("CSV", list(CSV_FILES.values()))):
        missing = [name for name in names if not find_file(folder, name)]
        if len(missing) < len(names):
            return f"'{folder}' does not hold all {kind} files: {', '.join(missing)} missing{_describe_packed(folder)}"
    return f"'{folder}': {_describe_other(folder)}; needed are {', '.join(idx)}, or {', '.join(CSV_FILES.values())} (or .gz)"


def _describe_other(folder: Path) -> str:
    """Returns what is at a path that has none of the files, and what to do about class folders and spreadsheets."""
    if not folder.is_dir():
        return "a file; name the folder that holds it" if folder.exists() else "no such folder"
    neither = f"neither the four IDX files nor both CSV files{_describe_packed(folder)}"
    content = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    if sheets := [path.name for path in content if path.suffix.lower() in _SHEETS]:
        return f"{neither}; export {printable(sheets[0])} as CSV"
    has_folders = any(map(is_folder, content))
    return f"{neither}; class folders are read with --data" if has_folders else neither


def _describe_packed(folder: Path) -> str:
    """Returns a clause about archives and unfinished downloads in a folder, which may be the missing files; "" without any."""
    names = [path.name for path in folder.iterdir() if not is_hidden(path.name)]
    packed = sorted(name for name in names if is_archive(name) or is_unfinished(name))
    return f"; {describe_hidden(packed)}" if packed else ""


_SHEETS = frozenset([".numbers", ".ods", ".xls", ".xlsx"])
"""Extensions of the files of spreadsheet programs, in lower case."""


def _find(folder: Path, name: str) -> Path:
    if path := find_file(folder, name):
        return path
    raise DataError(f"{folder / name}: the file was removed")


def _warn(part: str, images: np.ndarray, labels: np.ndarray, foreign: Sequence[tuple[Path, str]]) -> None:
    """Warns about files that are not the published ones."""
    if _unordered_sha256(images, labels) == _PUBLISHED_SETS[part]:
        logger.warning("%s: the published Fashion-MNIST in another order", printable(str(foreign[0][0])))
        return
    for path, digest in foreign:
        logger.warning(
            "%s: not the published Fashion-MNIST (SHA-256 %s...), used as it is", printable(str(path)), digest[:12]
        )


def _unordered_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns the sum, modulo 2^256, of the SHA-256 of each label with its image: the same for any order of the images."""
    pairs = zip(images, labels.tolist(), strict=True)
    digests = (hashlib.sha256(bytes([label]) + image.tobytes()).digest() for image, label in pairs)
    return f"{sum(int.from_bytes(digest, 'big') for digest in digests) % 2**256:064x}"


def _checked(paths: Sequence[Path], images: np.ndarray, labels: np.ndarray) -> Split:
    """Checks a part of the data set.

    Args:
        paths: File of the images, and that of the labels; or the only file.
        images: uint8 ``[N, H, W]``.
        labels: uint8 ``[N]``.

    Raises:
        DataError: There are no images, the numbers differ, or a value or shape is not one of Fashion-MNIST.
    """
    path = paths[0]
    if not len(labels):
        raise DataError(
            f"{path if not len(images) else paths[-1]}: holds no {'images' if not len(images) else 'labels'}"
        )
    if len(images) != len(labels):
        raise DataError(f"{path}: {len(images):,} images but {len(labels):,} labels; the files do not belong together")
    if labels.max() >= len(DATASET_LABELS):
        raise DataError(f"{paths[-1]}: a label is {labels.max()}, but the classes are 0 to {len(DATASET_LABELS) - 1}")
    try:
        split = Split(images, labels.astype(np.int64))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if images.max(initial=0) <= 1:
        raise DataError(f"{path}: no pixel is over 1, and white is 255; multiply the pixels by 255")
    return split
