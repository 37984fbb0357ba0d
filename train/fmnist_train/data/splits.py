"""Images with their labels, and dividing them so that every class keeps its share."""

import hashlib
from dataclasses import dataclass

import numpy as np

from fmnist_runtime.errors import ConfigError, DataError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["Split", "arrays_sha256", "split_validation", "stratified_draw"]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Raises:
        DataError: the arrays do not belong together.
    """

    images: np.ndarray
    """uint8 ``[N, 28, 28]``: the garment light on black."""
    labels: np.ndarray
    """int64 ``[N]``: class ids from 0."""

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
            raise DataError(f"images must be uint8 of 28×28 pixels, not {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} images need as many int64 labels, not {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """The images at these positions, copied."""
        return Split(self.images[indices], self.labels[indices])


def arrays_sha256(*arrays: np.ndarray) -> str:
    """SHA-256 of the bytes of arrays, to name the images and labels that were used."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def stratified_draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw ``count`` positions at random so that every class keeps its share to within one image.

    Every image gets its quantile in the random order of its own class; the ``count`` lowest quantiles are drawn.

    Args:
        labels: int ``[N]``.
        count: 0..N.
        seed: equal seeds draw equally, on every machine.

    Returns:
        int64 ``[count]``, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    quantile = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(order[np.argsort(quantile[order], kind="stable")[:count]])


def split_validation(split: Split, validation: float, seed: int) -> tuple[Split, Split]:
    """Hold out a stratified part of a training split.

    Args:
        split: what to divide.
        validation: a share if below 1, a number of images from 1 on, 0 for none.
        seed: equal seeds divide equally.

    Returns:
        Training and validation, without overlap and together all; each in the original order.

    Raises:
        ConfigError: the part is negative, or leaves nothing to train on or nothing to validate with.
    """
    count = round(validation * len(split)) if validation < 1 else int(validation)
    if validation < 0 or count >= len(split) or (validation and not count):
        raise ConfigError(
            f"a validation split of {validation:g} does not fit {len(split):,} training images: "
            "give a share below 1 or a smaller number of images"
        )
    held_out = np.zeros(len(split), bool)
    held_out[stratified_draw(split.labels, count, seed)] = True
    return split.take(~held_out), split.take(held_out)
