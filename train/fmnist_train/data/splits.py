"""Images with their labels, and stratified divisions of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist_runtime.console import counted
from fmnist_runtime.errors import ConfigError, DataError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = [
    "Split",
    "arrays_sha256",
    "describe_classes",
    "list_classes",
    "split_validation",
    "splits_sha256",
    "stratified_draw",
]


_LISTED = 50
"""Largest number of classes listed in one line."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Raises:
        DataError: The arrays have other types, or different lengths.
    """

    images: np.ndarray
    """uint8 ``[N, 28, 28]``: a light garment on black."""
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
        """Returns a copy of the images and labels at these positions, int ``[M]`` or bool ``[N]``."""
        return Split(self.images[indices], self.labels[indices])


def describe_classes(labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns the number of images of each class in one line: ``"2 classes: hat 16, scarf 4"``."""
    counts = np.bincount(labels, minlength=len(class_names))
    named = [f"{name} {count:,}" for name, count in zip(class_names, counts, strict=True)]
    return f"{counted(len(class_names), 'class', 'classes')}: {_shortened(named, _LISTED)}"


def list_classes(class_names: Sequence[str]) -> str:
    """Returns the number of classes and the first names: ``"4 classes (hat, scarf, shoe, and 1 more)"``."""
    return f"{counted(len(class_names), 'class', 'classes')} ({_shortened(class_names, 3)})"


def _shortened(words: Sequence[str], most: int) -> str:
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def arrays_sha256(*arrays: np.ndarray) -> str:
    """Computes the SHA-256 of the bytes of arrays, which identifies images and labels."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def splits_sha256(train: Split, validation: Split) -> str:
    """Computes the SHA-256 of images and labels, which identifies the data of a run."""
    return arrays_sha256(train.images, train.labels, validation.images, validation.labels)


def stratified_draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draws ``count`` positions at random; every class keeps its share to within one image.

    Each image has a quantile in the random order of its class; the ``count`` lowest quantiles are drawn.

    Args:
        labels: int ``[N]``.
        count: 0..N.
        seed: Seed of the random order, which is the same on every machine.

    Returns:
        int64 ``[count]``, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    quantile = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(order[np.argsort(quantile[order], kind="stable")[:count]])


def validation_size(validation: float, images: int) -> int:
    """Returns the number of images that a recipe's ``validation``, a share or a number, holds out of a training split."""
    return round(validation * images) if validation < 1 else int(validation)


def split_validation(split: Split, validation: float, seed: int) -> tuple[Split, Split]:
    """Holds out a stratified part of a training split.

    Args:
        split: Training split.
        validation: A share if below 1, a number of images from 1 on, 0 for none.
        seed: Seed of the draw.

    Returns:
        Training and validation images, which do not overlap, each in the original order.

    Raises:
        ConfigError: The size is negative, or leaves no training or no validation image.
    """
    count = validation_size(validation, len(split))
    if validation < 0 or count >= len(split) or (validation and not count):
        raise ConfigError(
            f"a validation split of {validation:g} does not fit {len(split):,} training images: "
            "give a share below 1 or a smaller number of images with --validation"
        )
    held_out = np.zeros(len(split), bool)
    held_out[stratified_draw(split.labels, count, seed)] = True
    return split.take(~held_out), split.take(held_out)
