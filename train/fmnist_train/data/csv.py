"""Fashion-MNIST as its Kaggle edition has it: a header line, then one line an image, the label before 784 pixels."""

from pathlib import Path

import numpy as np

from fmnist_runtime.errors import DataError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["read_csv"]

_COLUMNS = 1 + IMAGE_SIZE * IMAGE_SIZE


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one file of the pair ``fashion-mnist_train.csv``, ``fashion-mnist_test.csv``.

    Returns:
        uint8 images ``[N, 28, 28]`` and uint8 labels ``[N]``.

    Raises:
        DataError: unreadable, truncated, of another shape, or with values that are no bytes.
    """
    try:
        with path.open(encoding="ascii") as file:
            header, first = file.readline(), file.readline()
        columns = header.strip().replace('"', "").split(",")
        if len(columns) != _COLUMNS or columns[0] != "label" or not first.strip():
            raise DataError(f"{path}: must be a line that names 'label' and 784 pixels, then one line for each image")
        rows = np.loadtxt(path, np.uint8, delimiter=",", skiprows=1, comments=None, ndmin=2, encoding="ascii")
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a table of numbers from 0 to 255 ({str(error).partition(';')[0]})") from error
    if rows.shape[1] != _COLUMNS:
        raise DataError(f"{path}: {rows.shape[1]} numbers in a line, not a label and 784 pixels; the file is damaged")
    return rows[:, 1:].reshape(-1, IMAGE_SIZE, IMAGE_SIZE), rows[:, 0].copy()
