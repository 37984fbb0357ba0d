"""Fine-tuning with photos: samples of a step, loss, and validation.

A network that was trained on the data set alone goes on with both: data set images, for which the network before
fine-tuning is the teacher, and views of photos, of which several answers may be correct. At the end the weights before and
after are averaged (WiSE-FT, Wortsman et al. 2021, arXiv:2109.01903); validation chooses the share.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime.errors import ConfigError
from fmnist_train.augmentation.augment import augment, random_quarter_turn
from fmnist_train.augmentation.outliers import OUTLIER_WEIGHT, uniform_loss
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.photo_views import ViewSettings, load_views, paste_views
from fmnist_train.data.photos import PHOTOS_ORIGIN, Photo, read_photos, split_by_sender
from fmnist_train.data.splits import Split, arrays_sha256
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.recipes import Augmentation, Recipe

__all__ = [
    "PhotoBatch",
    "PhotoData",
    "PhotoSampler",
    "PhotoViews",
    "average_weights",
    "choose_average",
    "load_first_weights",
    "load_photo_data",
    "pack_logits",
    "photo_accuracy",
    "photo_loss",
    "unpack_logits",
    "validate_photos",
]

_AUGMENTATION = Augmentation(shift=1, flip=0.5)
"""Augmentation of the views of photos at each step: mirror images, and shifts of a pixel."""
_QUARTER_TURNS = 0.08
"""Probability that a view is rotated by quarters of a circle: trousers are often photographed lying across."""


@dataclass(frozen=True, eq=False)
class PhotoViews:
    """Views of some photos with the answers that count as correct."""

    images: np.ndarray
    """uint8 ``[N, views, 28, 28]``."""
    answers: np.ndarray
    """bool ``[N, classes]``; all false where a rejection is correct."""

    def join(self, other: "PhotoViews") -> "PhotoViews":
        """Return these views and others."""
        return PhotoViews(np.concatenate([self.images, other.images]), np.concatenate([self.answers, other.answers]))


@dataclass(frozen=True, eq=False)
class PhotoData:
    """Photos to train on and photos to validate with, of different senders."""

    train: PhotoViews
    validation: PhotoViews

    @property
    def sha256(self) -> str:
        """SHA-256 of all views and answers."""
        return arrays_sha256(self.train.images, self.train.answers, self.validation.images, self.validation.answers)


def load_photo_data(
    recipe: Recipe,
    folder: Path | None,
    labels: Sequence[str],
    images: Split,
    cache: Path,
    note: Callable[[str], None] = lambda text: None,
) -> PhotoData | None:
    """Read a folder of photos and make the views that a recipe needs; None for a recipe without photos.

    Args:
        recipe: gives the number of views, and how many photos a class must have.
        folder: holds the table ``train.csv``.
        labels: names of the classes.
        images: training images of the data set; of classes with too few photos some are pasted on photographed
            backgrounds.
        cache: folder of the views.
        note: called with a line before each long step.

    Raises:
        ConfigError: photos are needed and none were given, or the other way round.
        DataError: see ``read_photos``.
    """
    if not recipe.photo_share:
        if folder is not None:
            raise ConfigError(
                f"recipe '{recipe.name}' does not learn from photos: leave --photos out, or set --photo-share"
            )
        return None
    if folder is None:
        raise ConfigError(f"recipe '{recipe.name}' needs photos: {PHOTOS_ORIGIN}")
    photos = read_photos(folder, labels)
    settings = ViewSettings(count=recipe.photo_views)
    views = load_views([photo.path for photo in photos], settings, cache, note=note)
    place = {photo.path: number for number, photo in enumerate(photos)}
    parts = [
        PhotoViews(views[[place[photo.path] for photo in part]], _answers(part, len(labels)))
        for part in split_by_sender(photos)
    ]
    counts = _count_alone(parts[0].answers)
    missing = _first_images(images, np.zeros_like(counts), np.maximum(recipe.photo_minimum - counts, 0))
    shop = _first_images(images, np.bincount(missing.labels, minlength=len(labels)), counts * 0 + recipe.photo_plain)
    floors = [photos[number * _BACKGROUND_STEP % len(photos)].path for number in range(len(missing))]
    for pasted, backgrounds in ((missing, floors), (shop, [None] * len(shop))):
        if len(pasted):
            views = paste_views(pasted.images, backgrounds, settings, cache, note=note)
            parts[0] = parts[0].join(PhotoViews(views, np.eye(len(labels), dtype=bool)[pasted.labels]))
    return PhotoData(parts[0], parts[1])


_BACKGROUND_STEP = 101
"""Step between the photos whose backgrounds are taken: neighbors in the table often show the same floor. It is prime, so
that it visits every photo."""


def _count_alone(answers: np.ndarray) -> np.ndarray:
    """Photos of which a class is the only answer, ``[classes]``."""
    counts: np.ndarray = answers[answers.sum(axis=1) == 1].sum(axis=0)
    return counts


def _first_images(images: Split, skip: np.ndarray, count: np.ndarray) -> Split:
    """The first ``count[class]`` images of each class after ``skip[class]``."""
    chosen = [
        np.flatnonzero(images.labels == label)[first : first + number]
        for label, (first, number) in enumerate(zip(skip, count, strict=True))
    ]
    return images.take(np.concatenate(chosen))


def _answers(photos: Sequence[Photo], classes: int) -> np.ndarray:
    answers = np.zeros((len(photos), classes), bool)
    for row, photo in zip(answers, photos, strict=True):
        row[list(photo.answers)] = True
    return answers


@dataclass(frozen=True, eq=False)
class PhotoBatch:
    """Views of photos for one step."""

    images: Tensor
    """float32 ``[N, 1, 28, 28]``."""
    answers: Tensor
    """Answers that count as correct, bool ``[N, classes]``."""
    taught: Tensor | None
    """Mean of the photo teachers' logits, float32 ``[N, classes]``; None without teachers."""


class PhotoSampler:
    """Draws views of photos for a step; kinds of answers that are rare are drawn more often than their share.

    The weight of a photo is the number of photos with the same answers to the power of ``-balance``. The teachers, if any,
    answer every view once.
    """

    def __init__(
        self, views: PhotoViews, balance: float, device: torch.device, teachers: Sequence[Checkpoint] = ()
    ) -> None:
        visible = views.images.any(axis=(2, 3))  # a view may have lost its garment
        photo, view = np.nonzero(visible)
        self._images = torch.from_numpy(views.images[photo, view]).unsqueeze(1).to(device)
        self._answers = torch.from_numpy(views.answers[photo]).to(device)
        self._taught = None
        if teachers:
            logits = [predict_logits(teacher.model.to(device), views.images[photo, view]) for teacher in teachers]
            self._taught = torch.from_numpy(np.mean(logits, axis=0)).to(device)
        _, kind, counts = np.unique(views.answers[photo], axis=0, return_inverse=True, return_counts=True)
        weights = counts[kind.reshape(-1)].astype(np.float64) ** -balance
        self._weights = torch.from_numpy(weights / weights.sum()).to(device)

    def draw(self, count: int) -> PhotoBatch:
        """Return ``count`` views."""
        chosen = torch.multinomial(self._weights, count, replacement=True)
        images = random_quarter_turn(augment(self._images[chosen], None, _AUGMENTATION)[0], _QUARTER_TURNS)
        return PhotoBatch(images, self._answers[chosen], None if self._taught is None else self._taught[chosen])


def photo_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Return -log of the summed probability of the accepted answers; of photos of none, ``uniform_loss``. A scalar mean.

    Args:
        logits: float ``[N, classes]``.
        answers: bool ``[N, classes]``; a row without any true value is a photo of none of the classes.
    """
    known = answers.any(dim=1)
    log_probabilities = F.log_softmax(logits, dim=1)
    accepted = log_probabilities[known].masked_fill(~answers[known], -torch.inf).logsumexp(dim=1)
    loss = -accepted.sum()
    if not known.all():
        unknown = logits[~known]
        loss = loss + OUTLIER_WEIGHT * uniform_loss(unknown) * len(unknown)
    return loss / len(logits)


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
