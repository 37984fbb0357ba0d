"""End of fine-tuning with photos: an average of the weights before and after, with a share that validation chooses.

WiSE-FT, Wortsman et al. 2021 (arXiv:2109.01903). The share weighs accuracy on the data set against accuracy on photos.
"""

import base64
from collections.abc import Mapping, Sequence
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
    "describe_network",
    "load_first_weights",
    "pack_logits",
    "photo_accuracy",
    "unpack_logits",
    "validate_photos",
]


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


def average_weights(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Interpolates between two state dictionaries, in all weights and statistics.

    Args:
        start: State dictionary for share 0.
        end: State dictionary for share 1.
        share: 0..1.
    """
    return {
        name: torch.lerp(start[name].float(), tensor.float(), share).to(tensor.dtype) for name, tensor in end.items()
    }


def load_first_weights(model: nn.Module, start: Checkpoint) -> None:
    """Copies a checkpoint's weights and statistics into a network.

    Raises:
        ConfigError: The checkpoint is of another network.
    """
    try:
        model.load_state_dict(start.model.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"{start.path}: not the recipe's network; name another --start") from error


def validate_photos(model: nn.Module, photos: PhotoViews) -> tuple[float, float]:
    """Returns ``photo_accuracy`` over all views that are not empty."""
    visible = photos.images.any(axis=(2, 3))
    photo, view = np.nonzero(visible)
    return photo_accuracy(predict_logits(model, photos.images[photo, view]), photos.answers[photo])


def choose_average(
    start: Checkpoint, end: Checkpoint, recipe: Recipe, images: Split, photos: PhotoViews
) -> tuple[nn.Module, dict[str, Any]]:
    """Averages the weights of two checkpoints with the share that is best on photos, at a bounded cost on the data set.

    Args:
        start: Checkpoint before fine-tuning.
        end: Checkpoint after fine-tuning.
        recipe: Recipe with the shares to try, ``weight_shares``, and the largest drop of accuracy, ``weight_drop``.
        images: Validation images of the data set.
        photos: Validation photos.

    Returns:
        The network, and fields for its checkpoint's description: ``weight_share``, ``validation`` and ``photos``.
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
    chosen = _choose_share(tried, accuracy_before - recipe.weight_drop)
    network.load_state_dict(average_weights(first, last, chosen["share"]))
    figures = describe_network(network, images, photos)
    figures["photos"] |= {
        "accuracy_before": validate_photos(start.model, photos)[0],
        "validation_accuracy_before": accuracy_before,
        "shares": tried,
    }
    return network, {"weight_share": chosen["share"], **figures}


def describe_network(network: nn.Module, images: Split | None, photos: PhotoViews | None) -> dict[str, Any]:
    """Returns validation figures of a network, for its checkpoint's description.

    Args:
        network: Network.
        images: Validation images of the data set; None if none were held out.
        photos: Validation photos; None for a network that learned from none.

    Returns:
        ``validation`` (``accuracy``, ``loss``), and with photos ``photos`` (``accuracy`` and ``class_mean`` over all views, and
        the packed logits of the unchanged photos).
    """
    accuracy_and_loss = _validate_images(network, images) if images else {"accuracy": None, "loss": None}
    found: dict[str, Any] = {"validation": accuracy_and_loss}
    if photos is not None:
        accuracy, class_mean = validate_photos(network, photos)
        logits = predict_logits(network, photos.images[:, 0])
        found["photos"] = {"accuracy": accuracy, "class_mean": class_mean, **pack_logits(logits, photos.answers)}
    return found


def _choose_share(tried: Sequence[dict[str, Any]], least_accuracy: float) -> dict[str, Any]:
    """Returns the row that is best on photos among those that are accurate enough, or else the most accurate one."""
    allowed = [row for row in tried if row["accuracy"] >= least_accuracy]
    if not allowed:
        return max(tried, key=lambda row: row["accuracy"])
    return max(allowed, key=lambda row: row["photos"] + row["photo_class_mean"])


def _validate_images(model: nn.Module, images: Split) -> dict[str, float]:
    logits = torch.from_numpy(predict_logits(model, images.images))
    labels = torch.from_numpy(images.labels)
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
    }


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


def unpack_logits(photos: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Restores the arguments of ``pack_logits``: logits, float32, and answers, bool, both ``[N, classes]``."""
    count = photos["count"]
    logits = np.frombuffer(base64.b64decode(photos["logits"]), "<f2").astype(np.float32).reshape(count, -1)
    bits = np.frombuffer(base64.b64decode(photos["answers"]), np.uint8).reshape(count, -1)
    return logits, np.unpackbits(bits, axis=1, count=logits.shape[1]).astype(bool)
