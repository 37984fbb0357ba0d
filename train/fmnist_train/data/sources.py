"""Sources of images: ``find_dataset`` finds a data set, and ``DataSource.load`` reads one part of it.

| ``data`` | content |
|---|---|
| ``"fashion-mnist"`` | the 60,000 training and 10,000 test images |
| ``"sample"`` | 2,000 and 1,000 of them, in this package |
| a folder | images in class folders, see ``image_folder.py`` |
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import platformdirs

from fmnist_runtime.errors import ConfigError, DataError
from fmnist_runtime.files import parse_path
from fmnist_runtime.image_io.left_out import EXTENSIONS
from fmnist_runtime.image_io.missing import describe_missing
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.data.download import download
from fmnist_train.data.fashion_mnist import missing_files, read_idx_part, reader_for
from fmnist_train.data.image_folder import ClassFolders
from fmnist_train.data.splits import Split, split_validation
from fmnist_train.files import is_folder

__all__ = [
    "PUBLISHED",
    "SAMPLE_FOLDER",
    "DataSource",
    "Split",
    "cache_folder",
    "find_dataset",
    "refuse_as_output",
    "split_validation",
]

PUBLISHED = ("fashion-mnist", "sample")
"""Names of the data sets whose license is known: Fashion-MNIST, and its embedded sample."""
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Folder of the Debian package ``dataset-fashion-mnist``."""
SAMPLE_FOLDER = Path(__file__).parent / "sample"
"""Folder of the built-in sample."""


@dataclass(frozen=True)
class DataSource:
    """A data set whose files were found; ``load`` reads them."""

    name: str
    """Name of the data set, or of its folder; of a folder with the name of a published one, after ``own-``."""
    labels: tuple[str, ...]
    """Class names; the position is the class id."""
    origin: str
    """Folder where it was found."""
    reader: Callable[[str], Split] = field(repr=False)
    """Function from the name of a part to its images."""

    def load(self, part: str) -> Split:
        """Reads ``"train"`` or ``"test"``.

        Raises:
            DataError: A file is damaged, truncated or mislabeled, or its images have another shape.
            ValueError: ``part`` is neither of the two.
        """
        if part not in ("train", "test"):
            raise ValueError(f"unknown part {part!r}; known: train, test")
        return self.reader(part)


def cache_folder() -> Path:
    """Returns the folder of downloads, which may also be filled by hand; follows ``XDG_CACHE_HOME``.

    A user without a home folder, as in a container with ``--user``, has it in the current folder.
    """
    try:
        cache = platformdirs.user_cache_path("fmnist-edge")
    except RuntimeError:
        cache = Path.cwd() / ".cache" / "fmnist-edge"
    return cache / "fashion-mnist"


def find_dataset(data: str = "fashion-mnist", data_dir: Path | str | None = None) -> DataSource:
    """Finds a data set by name or path.

    With ``data_dir``, Fashion-MNIST is searched there alone. Otherwise it is searched in the cache, in the folder of the
    Debian package, and at torchvision's mirrors. Its files are IDX or the Kaggle CSV pair, gzipped or not.

    Args:
        data: ``"fashion-mnist"``, ``"sample"``, or the path of a folder with class folders.
        data_dir: A folder with the files of Fashion-MNIST; ``~`` is expanded in both.

    Raises:
        DataError: No data set was found.
        ConfigError: ``data_dir`` is given together with another data set.
    """
    if data_dir is not None and data != "fashion-mnist":
        raise ConfigError(
            f"--data-dir is the folder of Fashion-MNIST, and the data set is '{data}': leave --data-dir out"
        )
    if data == "sample":
        return _source("sample", SAMPLE_FOLDER, partial(read_idx_part, published=False))
    if data == "fashion-mnist":
        return _find_fashion_mnist(parse_path(str(data_dir)) if data_dir is not None else None)
    path = parse_path(data)
    if not path.is_dir():
        cause = f"a file; {_FILE_ADVICE}" if path.exists() else describe_missing(data)
        known = "name fashion-mnist, sample, or an existing folder with class folders"
        raise DataError(f"no data set '{data}'{f' ({cause})' if cause else ''}: {known}")
    if _find_files(path):
        raise DataError(
            f"{path}: Fashion-MNIST's files, not class folders: name the folder with --data-dir, without --data"
        )
    folders, name = ClassFolders(path), path.resolve().name
    if name in PUBLISHED:  # the license of a model depends on the name
        name = f"own-{name}"
    return DataSource(name, folders.labels, str(path), folders.load)


_RESULTS = ("best.safetensors", "last.safetensors", "parity.json")
"""Files that mark a folder of results, whose pictures are plots."""


def refuse_as_output(folder: Path, data: str) -> None:
    """Checks that results are not written among the images of a data set, where the next training would take plots for images.

    Raises:
        ConfigError: The folder is that of the data set, or is below it and holds images.
    """
    root = parse_path(data)
    if data in PUBLISHED or not (is_folder(root) and is_folder(folder)):
        return
    output, root = folder.resolve(), root.resolve()
    holds_images = any(path.suffix.lower() in EXTENSIONS for path in output.iterdir())
    is_result = any((output / name).exists() for name in _RESULTS)
    if output == root or (root in output.parents and holds_images and not is_result):
        raise ConfigError(f"{folder} holds the data set's images: choose another --output")


_FILE_ADVICE = "unpack it if it is an archive; IDX and CSV files are read with --data-dir FOLDER, without --data"


def _find_files(folder: Path) -> tuple[Path, Callable[[Path, str], Split]] | None:
    """Returns the folder itself, or torchvision's below it, that holds Fashion-MNIST's files, and the function that reads them."""
    for place in (folder, folder / "FashionMNIST" / "raw"):
        if reader := reader_for(place):
            return place, reader
    return None


def _find_fashion_mnist(data_dir: Path | None) -> DataSource:
    for folder in (data_dir,) if data_dir is not None else (cache_folder(), SYSTEM_FOLDER):
        if found := _find_files(folder):
            place, read = found
            return _source("fashion-mnist", place, read if data_dir is not None else partial(_read_found, read))
    if data_dir is not None:
        raise DataError(_not_found(missing_files(data_dir)))
    try:
        download(cache_folder())
    except (DataError, OSError) as error:
        raise DataError(_not_found(str(error))) from error
    return _source("fashion-mnist", cache_folder(), read_idx_part)


def _read_found(read: Callable[[Path, str], Split], folder: Path, part: str) -> Split:
    """Reads files of a folder that the user did not name; the error message says how other files are taken."""
    try:
        return read(folder, part)
    except DataError as error:
        raise DataError(f"{error}; remove the file, and it is looked for elsewhere or downloaded") from error


def _not_found(reason: str) -> str:
    return (
        f"Fashion-MNIST was not found ({reason}); either name its folder with --data-dir, or put its files into "
        f"{cache_folder()}, or run 'apt-get install dataset-fashion-mnist', or go online and let it be downloaded; "
        "--data sample needs none of these"
    )


def _source(name: str, folder: Path, read: Callable[[Path, str], Split]) -> DataSource:
    return DataSource(name, DATASET_LABELS, str(folder), partial(read, folder))
