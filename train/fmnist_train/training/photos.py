"""Fine-tuning with photos: data, samples of a step, and loss.

A network that was trained on the data set alone is trained further with data set images and views of photos. A photo may have
several correct answers.
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
from fmnist_train.data.photo_views import ViewSettings, load_views, paper_views, paste_views
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
    "photos_in_batch",
]

_AUGMENTATION = Augmentation(shift=1, flip=0.5)
"""Augmentation of photo views at each step: mirror images, and shifts by a pixel."""
_QUARTER_TURNS = 0.08
"""Probability that a view is rotated by quarters of a circle: trousers are often photographed horizontally."""


@dataclass(frozen=True, eq=False)
class PhotoViews:
    """Views of some photos with the answers that count as correct."""

    images: np.ndarray
    """uint8 ``[N, views, 28, 28]``."""
    answers: np.ndarray
    """Correct classes, bool ``[N, classes]``; all false if a rejection is correct."""

    def join(self, other: "PhotoViews") -> "PhotoViews":
        """Returns these views followed by others."""
        return PhotoViews(np.concatenate([self.images, other.images]), np.concatenate([self.answers, other.answers]))


@dataclass(frozen=True, eq=False)
class PhotoData:
    """Training and validation photos, which have different senders."""

    train: PhotoViews
    """Views for training."""
    validation: PhotoViews
    """Views for validation."""

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
    """Reads a folder of photos, and makes the views that a recipe needs; None for a recipe without photos.

    Args:
        recipe: Recipe with the number of views, and the smallest number of photos of a class.
        folder: Folder with the table ``train.csv``.
        labels: Names of the classes.
        images: Training images of the data set. For classes with too few photos, some are pasted on photographed backgrounds.
        cache: Folder of the views.
        note: Called with a line before each long step.

    Raises:
        ConfigError: Photos are needed and none are given, or they are given and not needed; or no photo to train on shows
            anything, or none to validate with shows a class.
        DataError: See ``read_photos``.
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
    _check_visible(*parts)
    backgrounds = [photo.path for photo in photos]
    train = _add_pasted_views(parts[0], recipe, images, backgrounds, settings, cache, note)
    if recipe.photo_papers:
        sheets = paper_views(_spread(backgrounds, recipe.photo_papers), settings, cache, note=note)
        train = train.join(PhotoViews(sheets, np.zeros((len(sheets), len(labels)), bool)))
    return PhotoData(train, parts[1])


def _check_visible(train: PhotoViews, validation: PhotoViews) -> None:
    """Raises an error if nothing is left of the photos to train on, or of those to validate with that show a class."""
    shown = validation.images[validation.answers.any(axis=1)]
    for images, use in ((train.images, "train on shows anything"), (shown, "validate with shows one of the classes")):
        if not images.any():
            raise ConfigError(f"none of the photos to {use}: add photos, or change the column 'part' of their table")


def _add_pasted_views(
    train: PhotoViews,
    recipe: Recipe,
    images: Split,
    backgrounds: Sequence[Path],
    settings: ViewSettings,
    cache: Path,
    note: Callable[[str], None],
) -> PhotoViews:
    """Appends views of the data set's images, pasted on photographed backgrounds and on plain ones."""
    counts, classes = _count_single_answers(train.answers), train.answers.shape[1]
    missing = _first_images(images, np.zeros_like(counts), np.maximum(recipe.photo_minimum - counts, 0))
    shop = _first_images(images, np.bincount(missing.labels, minlength=classes), counts * 0 + recipe.photo_plain)
    for pasted, places in ((missing, _spread(backgrounds, len(missing))), (shop, [None] * len(shop))):
        if len(pasted):
            views = paste_views(pasted.images, places, settings, cache, note=note)
            train = train.join(PhotoViews(views, np.eye(classes, dtype=bool)[pasted.labels]))
    return train


def _spread(photos: Sequence[Path], count: int) -> list[Path]:
    """Returns ``count`` photos from all parts of the table."""
    return [photos[number * _BACKGROUND_STEP % len(photos)] for number in range(count)]


_BACKGROUND_STEP = 101
"""Step between photos whose backgrounds are used, because neighbors in the table often have the same background. It is a
prime, so that all photos are used."""


def _count_single_answers(answers: np.ndarray) -> np.ndarray:
    """Returns the number of photos whose only correct answer is each class, int ``[classes]``."""
    counts: np.ndarray = answers[answers.sum(axis=1) == 1].sum(axis=0)
    return counts


def _first_images(images: Split, skip: np.ndarray, count: np.ndarray) -> Split:
    """Returns the next ``count[class]`` images of each class after the first ``skip[class]`` ones."""
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
    """Correct classes, bool ``[N, classes]``."""
    teacher_logits: Tensor | None
    """Mean of the photo teachers' logits, float32 ``[N, classes]``, or zeros for a photo of none; None without teachers."""


class PhotoSampler:
    """Draws views of photos for a step; views with a rare set of answers are drawn more often than their share.

    The weight of a photo is the number of photos with the same answers to the power of ``-balance``. The logits of teachers,
    if there are any, are computed once for every view; those of photos of none of the classes are zeros.

    Args:
        views: Views to draw from.
        balance: 0..1; with 0 all views have the same weight, with 1 all sets of answers.
        device: Device of the drawn views.
        teachers: Checkpoints of the photo teachers.
    """

    def __init__(
        self, views: PhotoViews, balance: float, device: torch.device, teachers: Sequence[Checkpoint] = ()
    ) -> None:
        visible = views.images.any(axis=(2, 3))  # a view may have lost its garment
        photo, view = np.nonzero(visible)
        self._images = torch.from_numpy(views.images[photo, view]).unsqueeze(1).to(device)
        self._answers = torch.from_numpy(views.answers[photo]).to(device)
        self._teacher_logits = None
        if teachers:
            logits = [predict_logits(teacher.model.to(device), views.images[photo, view]) for teacher in teachers]
            self._teacher_logits = torch.from_numpy(np.mean(logits, axis=0)).to(device)
            self._teacher_logits[~self._answers.any(dim=1)] = (
                0  # equal probabilities: a teacher may accept other things
            )
        _, kind, counts = np.unique(views.answers[photo], axis=0, return_inverse=True, return_counts=True)
        weights = counts[kind.reshape(-1)].astype(np.float64) ** -balance
        self._weights = torch.from_numpy(weights / weights.sum()).to(device)

    def draw(self, count: int) -> PhotoBatch:
        """Returns ``count`` views, drawn with replacement."""
        chosen = torch.multinomial(self._weights, count, replacement=True)
        images = random_quarter_turn(augment(self._images[chosen], None, _AUGMENTATION)[0], _QUARTER_TURNS)
        return PhotoBatch(
            images, self._answers[chosen], None if self._teacher_logits is None else self._teacher_logits[chosen]
        )


def photos_in_batch(share: float, images: int) -> int:
    """Returns the number of photos that have this share of a batch beside a number of data set images."""
    return round(images * share / (1 - share))


def photo_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Returns the mean loss of photos, a scalar.

    The loss of a photo is the negative logarithm of the summed probability of its correct answers. For a photo of none of the
    classes, it is ``uniform_loss`` with the weight ``OUTLIER_WEIGHT``.

    Args:
        logits: float ``[N, classes]``.
        answers: Correct classes, bool ``[N, classes]``; a row without a true value is a photo of none of the classes.
    """
    known = answers.any(dim=1)
    log_probabilities = F.log_softmax(logits, dim=1)
    accepted = log_probabilities[known].masked_fill(~answers[known], -torch.inf).logsumexp(dim=1)
    loss = -accepted.sum()
    if not known.all():
        unknown = logits[~known]
        loss = loss + OUTLIER_WEIGHT * uniform_loss(unknown) * len(unknown)
    return loss / len(logits)
