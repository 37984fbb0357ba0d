"""Ends fine-tuning with photos: averages the weights before and after it, with a share that validation chooses.

Wortsman et al. 2021 (WiSE-FT, arXiv:2109.01903). The share weighs accuracy on the data set against accuracy on photos.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.errors import ConfigError
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.splits import Split
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.recipes import Recipe
from fmnist_train.training.photos import PhotoViews

__all__ = [
    "average_weights",
    "choose_average",
    "load_first_weights",
    "pack_logits",
    "photo_accuracy",
    "unpack_logits",
    "validate_photos",
]


def photo_accuracy(logits: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """Return the share of photos answered correctly, and the mean of that share over the kinds of answers.

    Args:
        logits: float ``[N, classes]``.
        answers: bool ``[N, classes]``; photos of none of the classes are left out.
    """
    known = answers.any(axis=1)
    correct = answers[np.arange(len(logits)), logits.argmax(axis=1)][known]
    _, kind = np.unique(answers[known], axis=0, return_inverse=True)
    kinds = [correct[kind.reshape(-1) == number].mean() for number in range(kind.max() + 1)]
    return float(correct.mean()), float(np.mean(kinds))


def average_weights(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return ``share`` of the way from one state dictionary to another: every weight and every statistic."""
    return {
        name: torch.lerp(start[name].float(), tensor.float(), share).to(tensor.dtype) for name, tensor in end.items()
    }


def load_first_weights(model: nn.Module, start: Checkpoint) -> None:
    """Copy a checkpoint's weights and statistics into a network.

    Raises:
        ConfigError: it is another network.
    """
    try:
        model.load_state_dict(start.model.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"{start.path}: not the recipe's network; name another --start") from error


def validate_photos(model: nn.Module, photos: PhotoViews) -> tuple[float, float]:
    """Return ``photo_accuracy`` over all views that show something."""
    visible = photos.images.any(axis=(2, 3))
    photo, view = np.nonzero(visible)
    return photo_accuracy(predict_logits(model, photos.images[photo, view]), photos.answers[photo])


def choose_average(
    start: Checkpoint, end: Checkpoint, recipe: Recipe, images: Split, photos: PhotoViews
) -> tuple[nn.Module, dict[str, Any]]:
    """Average two checkpoints' weights with the share that does best on photos at little cost on the data set.

    Args:
        start: before fine-tuning.
        end: after it.
        recipe: its ``weight_shares`` are tried; ``weight_drop`` bounds the cost.
        images: validation images of the data set.
        photos: validation photos.

    Returns:
        The network, and what its checkpoint states: ``weight_share``, ``validation`` and ``photos``.
    """
    first = start.model.state_dict()
    last = {name: tensor.clone() for name, tensor in end.model.state_dict().items()}
    network, tried = end.model, []
    accuracy_before = _validate_images(start.model, images)["accuracy"]
    for share in recipe.weight_shares:
        network.load_state_dict(average_weights(first, last, share))
        found = _validate_images(network, images)
        photo_share, class_mean = validate_photos(network, photos)
        tried.append({"share": share, **found, "photos": photo_share, "photo_class_mean": class_mean})
    allowed = [row for row in tried if row["accuracy"] >= accuracy_before - recipe.weight_drop]
    if allowed:
        chosen = max(allowed, key=lambda row: row["photos"] + row["photo_class_mean"])
    else:
        chosen = max(tried, key=lambda row: row["accuracy"])
    network.load_state_dict(average_weights(first, last, chosen["share"]))
    return network, {
        "weight_share": chosen["share"],
        "validation": {"accuracy": chosen["accuracy"], "loss": chosen["loss"]},
        "photos": {
            "accuracy": chosen["photos"],
            "class_mean": chosen["photo_class_mean"],
            "accuracy_before": validate_photos(start.model, photos)[0],
            "validation_accuracy_before": accuracy_before,
            "shares": tried,
            **pack_logits(predict_logits(network, photos.images[:, 0]), photos.answers),
        },
    }


def _validate_images(model: nn.Module, images: Split) -> dict[str, float]:
    logits = torch.from_numpy(predict_logits(model, images.images))
    labels = torch.from_numpy(images.labels)
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
    }


def pack_logits(logits: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    """Return the answers to validation photos as JSON-ready text, for the export's temperature and reject threshold."""
    return {
        "count": len(logits),
        "logits": base64.b64encode(logits.astype("<f2").tobytes()).decode(),
        "answers": base64.b64encode(np.packbits(answers, axis=1).tobytes()).decode(),
    }


def unpack_logits(photos: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``pack_logits`` packed: logits float32 and answers bool, ``[N, classes]`` both."""
    count = photos["count"]
    logits = np.frombuffer(base64.b64decode(photos["logits"]), "<f2").astype(np.float32).reshape(count, -1)
    bits = np.frombuffer(base64.b64decode(photos["answers"]), np.uint8).reshape(count, -1)
    return logits, np.unpackbits(bits, axis=1, count=logits.shape[1]).astype(bool)
