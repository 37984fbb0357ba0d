"""What the tests of training share: a small real data set in each format, and a machine without network or cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from fmnist_train.data import sources
from fmnist_train.data.fashion_mnist import CSV_FILES, IDX_FILES, reader_for
from fmnist_train.data.idx import write_idx
from fmnist_train.data.sources import DataSource, Split, find_dataset

FULL_DATA = next((folder for folder in (sources.cache_folder(), sources.SYSTEM_FOLDER) if reader_for(folder)), None)


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No cache, no Debian package, no mirror: a test that needs one of them puts it there. Returns the cache folder."""
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(FashionMNIST, "mirrors", [])
    return tmp_path / "cache"


@pytest.fixture
def full_data() -> DataSource:
    """The published Fashion-MNIST, or a skip."""
    if FULL_DATA is None:
        pytest.skip("the full Fashion-MNIST is not on this machine: apt-get install dataset-fashion-mnist")
    return find_dataset(data_dir=FULL_DATA)


@pytest.fixture(scope="session")
def small() -> dict[str, Split]:
    """60 training and 30 test images of the sample."""
    source = find_dataset("sample")
    return {part: source.load(part).take(np.arange(count)) for part, count in (("train", 60), ("test", 30))}


@pytest.fixture
def write_idx_folder(small: dict[str, Split]) -> Callable[..., Path]:
    """Writes the small data set as IDX files, gzipped or not, into a folder, and returns the folder."""

    def write(folder: Path, suffix: str = ".gz") -> Path:
        for part, (images_name, labels_name) in IDX_FILES.items():
            write_idx(folder / (images_name + suffix), small[part].images)
            write_idx(folder / (labels_name + suffix), small[part].labels)
        return folder

    return write


@pytest.fixture
def write_csv_folder(small: dict[str, Split]) -> Callable[[Path], Path]:
    """Writes the small data set as the Kaggle CSV pair into a folder, and returns the folder."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True)
        header = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])
        for part, name in CSV_FILES.items():
            split = small[part]
            rows = np.column_stack([split.labels, split.images.reshape(len(split), -1)])
            np.savetxt(folder / name, rows, fmt="%d", delimiter=",", header=header, comments="")
        return folder

    return write
