"""Figures of a network on validation images and validation photos, and the photos' logits as a checkpoint contains them."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fmnist_runtime.errors import MALFORMED, CheckpointError, reason_of
from fmnist_train.data.splits import Split
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.training.photos import PhotoViews

__all__ = [
    "describe_photos",
    "pack_logits",
    "photo_accuracy",
    "stored_photos",
    "unpack_logits",
    "validate_images",
    "validate_photos",
]


def validate_images(model: nn.Module, images: Split) -> dict[str, float | None]:
    """Returns ``accuracy`` and ``loss``, the mean cross-entropy, on validation images; both are None if there are none."""
    if not len(images):
        return {"accuracy": None, "loss": None}
    logits, labels = torch.from_numpy(predict_logits(model, images.images)), torch.from_numpy(images.labels)
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
    }


def photo_accuracy(logits: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """Returns the share of photos that are classified correctly, and the mean of that share over the sets of answers.

    Args:
        logits: float ``[N, classes]``.
        answers: bool ``[N, classes]``; photos of none of the classes are left out.
    """
    known = answers.any(axis=1)
    correct = answers[np.arange(len(logits)), logits.argmax(axis=1)][known]
    _, kind = np.unique(answers[known], axis=0, return_inverse=True)
    kinds = [correct[kind.reshape(-1) == number].mean() for number in range(kind.max() + 1)]
    return float(correct.mean()), float(np.mean(kinds))


def validate_photos(model: nn.Module, photos: PhotoViews) -> tuple[float, float]:
    """Returns ``photo_accuracy`` over all views that are not empty."""
    visible = photos.images.any(axis=(2, 3))
    photo, view = np.nonzero(visible)
    return photo_accuracy(predict_logits(model, photos.images[photo, view]), photos.answers[photo])


def describe_photos(
    network: nn.Module, photos: PhotoViews, accuracy: float | None, class_mean: float | None
) -> dict[str, Any]:
    """Returns the entry ``photos`` of a checkpoint's description, with the logits of the unchanged photos.

    Its keys are ``accuracy`` and ``class_mean``, as ``validate_photos`` returned them, and those of ``pack_logits``.
    """
    logits = predict_logits(network, photos.images[:, 0])
    return {"accuracy": accuracy, "class_mean": class_mean, **pack_logits(logits, photos.answers)}


def pack_logits(logits: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    """Packs logits and correct answers of validation photos as JSON-ready text, from which the export fits its reject rule.

    Args:
        logits: float ``[N, classes]``; stored as float16.
        answers: Correct classes, bool ``[N, classes]``.
    """
    return {
        "count": len(logits),
        "logits": base64.b64encode(logits.astype("<f2").tobytes()).decode(),
        "answers": base64.b64encode(np.packbits(answers, axis=1).tobytes()).decode(),
    }


def stored_photos(info: Mapping[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the photos in the description of a checkpoint, as ``unpack_logits`` does; None if it has no photos.

    Args:
        info: Description.
        path: File of the description, for the message.

    Raises:
        CheckpointError: The entry ``photos`` is damaged.
    """
    if "photos" not in info:
        return None
    try:
        logits, answers = unpack_logits(info["photos"])
    except CheckpointError:  # of a missing entry
        raise
    except MALFORMED as error:
        raise CheckpointError(_damaged(path, reason_of(error))) from error
    if logits.shape[1] != len(info["labels"]):
        raise CheckpointError(_damaged(path, f"{logits.shape[1]} logits a photo for {len(info['labels'])} classes"))
    if not np.isfinite(logits).all() or not answers.any():
        raise CheckpointError(_damaged(path, "logits that are no numbers, or no photo of the classes"))
    return logits, answers


def _damaged(path: Path, reason: str) -> str:
    return f"{path}: the photos in its description are damaged ({reason}): train the network again, or take a copy"


def unpack_logits(photos: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Restores the arguments of ``pack_logits``: logits, float32, and answers, bool, both ``[N, classes]``.

    Raises:
        Exception: One of ``MALFORMED``: an entry is missing or damaged.
    """
    count, packed = photos["count"], [base64.b64decode(photos[key], validate=True) for key in ("logits", "answers")]
    logits = np.frombuffer(packed[0], "<f2").astype(np.float32).reshape(count, -1)
    bits = np.frombuffer(packed[1], np.uint8).reshape(count, (logits.shape[1] + 7) // 8)
    return logits, np.unpackbits(bits, axis=1, count=logits.shape[1]).astype(bool)
