"""Fine-tuning with photos: data, samples of a step, and loss.

A network that was trained on the data set alone continues with both: data set images with the answers of teachers, and views
of photos, of which several answers may be correct. ``weight_average.py`` ends the phase.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
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
    "load_photo_data",
    "photo_loss",
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
