"""Fitting of the temperature of the probabilities, and of the threshold of the reject option, on validation images."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fmnist_runtime.console import counted
from fmnist_runtime.errors import ConfigError
from fmnist_runtime.reject import SCORES
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.augmentation.photo import as_photographed
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.sources import Split
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.evaluation.metrics import softmax
from fmnist_train.training.validation import stored_photos

__all__ = ["ACCEPTANCE", "PHOTO_ACCEPTANCE", "calibrate", "fit_reject", "fit_temperature", "imitate_photos"]

_logger = logging.getLogger(__name__)

ACCEPTANCE = 0.95
"""Share of garment images that the reject option accepts."""
PHOTO_ACCEPTANCE = 0.84
"""Share of validation photos of garments that is accepted, for a network that was trained with photos. Among the least
certain photos are most of its errors, and most photos of other things. The value was chosen on other images: it is the
largest with which ``improved`` accepts at most 15% of text, of scenes and of faces."""
_FEW = 100
"""Number of validation images below which they do not justify more certain probabilities than the network's own."""
_MOST_IMITATED = 0.5
"""Largest share of imitated photos among the images that set the threshold."""


def calibrate(checkpoint: Checkpoint, validation: Split, score: str) -> tuple[float, dict[str, Any]]:
    """Fits the temperature and the reject rule of a network.

    If the checkpoint contains logits of validation photos, the rule is fitted on them. Otherwise it is fitted on validation
    images and imitated photos, in the proportion of the training.

    Args:
        checkpoint: The network with its description.
        validation: Validation images.
        score: Key of ``SCORES``.

    Returns:
        Results of ``fit_temperature`` and ``fit_reject``.

    Raises:
        CheckpointError: The photos in the checkpoint's description are damaged.
    """
    logits = garments = predict_logits(checkpoint.model, validation.images)
    if photos := stored_photos(checkpoint.info, checkpoint.path):
        photo_logits, answers = photos
        temperature = fit_temperature(logits, validation.labels, photos)
        return temperature, fit_reject(photo_logits[answers.any(axis=1)], temperature, score, PHOTO_ACCEPTANCE)
    temperature = fit_temperature(logits, validation.labels)
    if share := min(checkpoint.info["recipe"]["augmentation"]["photo"], _MOST_IMITATED):
        count = round(len(validation) * share / (1 - share))
        imitated = imitate_photos(validation.take(np.arange(count)), checkpoint.info["labels"])
        garments = np.concatenate([garments, predict_logits(checkpoint.model, imitated)])
    return temperature, fit_reject(garments, temperature, score)


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, photos: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """Returns the temperature with the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: Logits of validation images, float ``[N, classes]``.
        labels: Class ids, int ``[N]``.
        photos: Logits, float ``[M, classes]``, and correct answers, bool ``[M, classes]``, of validation photos. Their mean
            loss has the same weight as that of the images.

    Returns:
        A temperature between 0.05 and 20, or 1 and 20 for fewer than 100 images without photos, found by a golden-section
        search. It is rounded to three decimals, so that two exports give the same bytes.

    Raises:
        ConfigError: There are no validation images.
    """
    if not len(labels):
        raise ConfigError("fitting the temperature needs validation images")

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        chosen = softmax(logits, temperature)[np.arange(len(labels)), labels]
        of_images = float(-np.log(np.maximum(chosen, 1e-300)).mean())
        if photos is None:
            return of_images
        accepted = (softmax(photos[0], temperature) * photos[1]).sum(axis=1)[photos[1].any(axis=1)]
        return of_images + float(-np.log(np.maximum(accepted, 1e-300)).mean())

    low, high = np.log(0.05), np.log(20.0)
    if photos is None and len(labels) < _FEW:  # if all of them are correct, the colder, the better, down to any bound
        low = 0.0
        _logger.warning(
            "the probabilities are fitted to %s only: take them as rough", counted(len(labels), "validation image")
        )
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return round(float(np.exp((low + high) / 2)), 3)


def imitate_photos(validation: Split, labels: Sequence[str]) -> np.ndarray:
    """Changes validation images to imitated photos, uint8 ``[N, 28, 28]``; every call returns the same ones.

    Args:
        validation: Images to change.
        labels: Class names of the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        known = torch.from_numpy(validation.labels) if list(labels) == list(DATASET_LABELS) else None
        changed = as_photographed(torch.from_numpy(validation.images).unsqueeze(1).float(), known)
    return changed.clamp(0, 255).round().byte().squeeze(1).numpy()


def fit_reject(
    logits: np.ndarray, temperature: float, score: str = "certainty", acceptance: float = ACCEPTANCE
) -> dict[str, Any]:
    """Returns a reject rule whose threshold accepts a given share of garment images.

    Args:
        logits: Logits of the images, float ``[N, classes]``.
        temperature: Divisor of the logits.
        score: Key of ``SCORES``.
        acceptance: Share to accept, 0 to 1.

    Returns:
        The metadata field ``reject``: ``score``, ``threshold`` (four significant digits) and ``acceptance``.

    Raises:
        ConfigError: The score is unknown.
    """
    if score not in SCORES:
        raise ConfigError(f"unknown reject score '{score}'; known: {', '.join(SCORES)}")
    scores = SCORES[score](logits, softmax(logits, temperature))
    threshold = float(np.quantile(scores, 1 - acceptance))
    return {"score": score, "threshold": float(f"{threshold:.4g}"), "acceptance": acceptance}
