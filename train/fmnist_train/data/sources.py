"""Where the images come from: ``find_dataset`` looks, ``DataSource.load`` reads, and only what it is asked for.

| ``data`` | what it is |
|---|---|
| ``"fashion-mnist"`` | the 60,000 training and 10,000 test images |
| ``"sample"`` | 2,000 and 1,000 of them, which come with this package |
| a folder | pictures of one's own in class folders, see ``image_folder.py`` |
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import platformdirs

from fmnist_runtime.errors import DataError
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.data.download import download
from fmnist_train.data.fashion_mnist import read_idx_part, reader_for
from fmnist_train.data.splits import Split, split_validation

__all__ = ["SAMPLE_FOLDER", "DataSource", "Split", "cache_folder", "find_dataset", "split_validation"]

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package ``dataset-fashion-mnist`` puts its files."""
SAMPLE_FOLDER = Path(__file__).parent / "sample"


@dataclass(frozen=True)
class DataSource:
    """A data set that was found and not yet read."""

    name: str
    labels: tuple[str, ...]
    """Class names; the position is the class id."""
    origin: str
    """The folder where it was found."""
    reader: Callable[[str], Split] = field(repr=False)

    def load(self, part: str) -> Split:
        """Read ``"train"`` or ``"test"``; the other one stays unread.

        Raises:
            DataError: damaged, truncated, mislabelled or of another shape.
            ValueError: no such part.
        """
        if part not in ("train", "test"):
            raise ValueError(f"unknown part {part!r}; known: train, test")
        return self.reader(part)


def cache_folder() -> Path:
    """Where a download goes, and where files may be put by hand; follows ``XDG_CACHE_HOME``."""
    return platformdirs.user_cache_path("fmnist-edge") / "fashion-mnist"


def find_dataset(data: str = "fashion-mnist", data_dir: Path | str | None = None) -> DataSource:
    """Find a data set by name or path.

    Fashion-MNIST is looked for in ``data_dir`` if that is given, and then nowhere else; otherwise in the cache, in the
    folder of the Debian package, and at torchvision's mirrors. IDX (gzipped or not) and the Kaggle CSV pair are taken.

    Args:
        data: ``"fashion-mnist"``, ``"sample"``, or the path of a folder with class folders.
        data_dir: a folder with the files of Fashion-MNIST.

    Raises:
        DataError: not found; the message says what to do.
    """
    if data_dir is not None and data != "fashion-mnist":
        raise DataError(f"a data folder is where Fashion-MNIST lies, not '{data}': leave --data-dir out")
    if data == "sample":
        return _source("sample", SAMPLE_FOLDER, partial(read_idx_part, published=False))
    if data == "fashion-mnist":
        return _find_fashion_mnist(Path(data_dir) if data_dir is not None else None)
    path = Path(data)
    if not path.is_dir():
        raise DataError(f"no data set '{data}': name fashion-mnist, sample, or an existing folder with class folders")
    from fmnist_train.data.image_folder import ClassFolders  # brings torchvision

    folders = ClassFolders(path)
    return DataSource(path.resolve().name, folders.labels, str(path), folders.load)


def _find_fashion_mnist(data_dir: Path | None) -> DataSource:
    for folder in (data_dir,) if data_dir is not None else (cache_folder(), SYSTEM_FOLDER):
        for place in (folder, folder / "FashionMNIST" / "raw"):  # the latter is where torchvision keeps it
            if reader := reader_for(place):
                return _source("fashion-mnist", place, reader)
    if data_dir is not None:
        raise DataError(_not_found(f"'{data_dir}' does not hold all four IDX files, or both Kaggle CSV files"))
    try:
        download(cache_folder())
    except (DataError, OSError) as error:
        raise DataError(_not_found(str(error))) from error
    return _source("fashion-mnist", cache_folder(), read_idx_part)


def _not_found(reason: str) -> str:
    return (
        f"Fashion-MNIST was not found ({reason}); either name its folder with --data-dir, or put its files into "
        f"{cache_folder()}, or run 'apt-get install dataset-fashion-mnist', or go online and let it be downloaded; "
        "--data sample needs none of these"
    )


def _source(name: str, folder: Path, read: Callable[[Path, str], Split]) -> DataSource:
    return DataSource(name, DATASET_LABELS, str(folder), partial(read, folder))
