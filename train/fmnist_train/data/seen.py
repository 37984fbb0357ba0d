"""Hashes of the images that a network was trained on, by which later tests find such images among their own.

A checkpoint contains the hashes of own data sets, whose splits may change. The published data sets are fixed.
"""

import base64
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_runtime.console import printable
from fmnist_runtime.errors import MALFORMED, CheckpointError
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.splits import Split, validation_size

__all__ = ["describe_seen", "hash_images", "report_learned", "report_repeated", "report_seen", "stored_seen"]

logger = logging.getLogger(__name__)

_KEY = "seen"
"""Key of a checkpoint's description."""
_MOST = 200_000
"""Largest number of hashes in a checkpoint, which is written after each better epoch: 2 MB as text."""


def hash_images(images: np.ndarray) -> np.ndarray:
    """Computes the first 8 bytes of the SHA-256 of each image, uint64 ``[N]``, from uint8 ``[N, 28, 28]``."""
    return np.frombuffer(b"".join(hashlib.sha256(image.tobytes()).digest()[:8] for image in images), "<u8")


def describe_seen(hashes: np.ndarray) -> dict[str, str]:
    """Returns the entry of a checkpoint's description for hashes uint64 ``[N]``; empty for none or over 200,000."""
    known = np.unique(hashes)
    return {_KEY: base64.b64encode(known.astype("<u8").tobytes()).decode()} if 0 < len(known) <= _MOST else {}


def stored_seen(info: Mapping[str, Any], path: Path) -> np.ndarray:
    """Returns the hashes in a checkpoint's description, uint64 ``[N]``; empty if it has none, as in earlier versions.

    Args:
        info: Description.
        path: File of the description, for the message.

    Raises:
        CheckpointError: The entry is damaged.
    """
    try:
        return np.frombuffer(base64.b64decode(info.get(_KEY, ""), validate=True), "<u8")
    except MALFORMED as error:
        raise CheckpointError(f"{path}: its description is damaged: '{_KEY}' is no list of hashes") from error


def report_seen(test: Split, seen: np.ndarray, origin: str) -> None:
    """Warns about test images that training has seen.

    Args:
        test: Test split.
        seen: Hashes of the images of training and validation, uint64 ``[N]``.
        origin: Folder of the data set.
    """
    _warn(test, seen, origin, "test images that training has seen: %d of %d; the accuracy is too high")


def report_repeated(train: Split, validation: Split, origin: str) -> None:
    """Warns about validation images that are equal to training images, as in a table that has some rows several times.

    Args:
        train: Training images.
        validation: Validation images.
        origin: Folder of the data set.
    """
    message = "validation images that are also training images: %d of %d; the validation accuracy is too high"
    _warn(validation, hash_images(train.images), origin, message)


def _warn(split: Split, known: np.ndarray, origin: str, message: str) -> None:
    """Logs a message with the number of images that are known by their hashes, and the number of all; none if there is none."""
    if common := int(np.isin(hash_images(split.images), known).sum()):
        logger.warning(f"%s: {message}", printable(origin), common, len(split))


def report_learned(train: Split, validation: Split, start: Checkpoint, dataset: str, origin: str) -> None:
    """Warns about validation images that the first weights may have learned.

    As long as the images are the same, the validation images are among those that the first weights' training held out, if it
    held out as many. Images that were added change their draw. A published data set is known by its name.

    Args:
        train: Training images.
        validation: Validation images.
        start: Checkpoint of the first weights.
        dataset: Name of the data set.
        origin: Folder of the data set.
    """
    reason = "images were added"
    if len(seen := stored_seen(start.info, start.path)):
        common = int(np.isin(hash_images(validation.images), seen).sum())
        is_same = bool(np.isin(hash_images(train.images), seen).all())
    else:
        is_same = start.info.get("dataset") == dataset
        common = len(validation) if is_same else 0
    if is_same:
        held_out = validation_size(start.info.get("recipe", {}).get("validation", 0), len(train) + len(validation))
        common, reason = min(common, len(validation) - held_out), "their training held out fewer"
    if common > 0:
        logger.warning(
            "%s: validation images that the first weights may have learned: up to %d of %d, because %s",
            printable(origin),
            common,
            len(validation),
            reason,
        )
