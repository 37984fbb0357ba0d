"""A small part of Fashion-MNIST, as gzipped IDX files beside this module: a fixed draw, balanced over the classes.

``python -m fmnist_train.data.sample`` writes the files again from the full data set.
"""

from pathlib import Path

from fmnist_train.data.fashion_mnist import IDX_FILES
from fmnist_train.data.idx import write_idx
from fmnist_train.data.sources import SAMPLE_FOLDER, DataSource
from fmnist_train.data.splits import stratified_draw

__all__ = ["COUNTS", "SEED", "write_sample"]

COUNTS = {"train": 2_000, "test": 1_000}
"""Images of each part: 600 kB in the package, and enough for 80% accuracy in a minute."""
SEED = 0


def write_sample(source: DataSource, folder: Path = SAMPLE_FOLDER) -> None:
    """Draws ``COUNTS`` images of each part and write four ``.gz`` files; the same data gives the same images."""
    for part, (images_name, labels_name) in IDX_FILES.items():
        split = source.load(part)
        drawn = split.take(stratified_draw(split.labels, COUNTS[part], SEED))
        write_idx(folder / f"{images_name}.gz", drawn.images)
        write_idx(folder / f"{labels_name}.gz", drawn.labels)
