"""What validation images decide: the temperature of the probabilities, and when to say "I don't know"."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.reject import SCORES
from fmnist_runtime.spec import DATASET_LABELS
from fmnist_train.augmentation.photo import as_photographed
from fmnist_train.data.sources import Split
from fmnist_train.evaluation.metrics import softmax

__all__ = ["ACCEPTANCE", "PHOTO_ACCEPTANCE", "fit_reject", "fit_temperature", "photographed"]

ACCEPTANCE = 0.95
"""Share of real garments that the reject option lets pass."""


PHOTO_ACCEPTANCE = 0.88
"""Share of validation photos of garments that is accepted, by a network that learnt from photos. Its errors are among the
least certain photos, and so are most photos of other things."""


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, photos: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599), by golden section.

    Args:
        logits: float ``[N, classes]`` of validation images.
        labels: int ``[N]``.
        photos: logits ``[M, classes]`` and accepted answers, bool ``[M, classes]``, of validation photos; their mean
            counts as much as that of the images.

    Returns:
        Between 0.05 and 20, to three digits: exporting twice must give the same bytes.
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
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return round(float(np.exp((low + high) / 2)), 3)


def photographed(validation: Split, labels: Sequence[str]) -> np.ndarray:
    """The validation images as photos might show them: uint8 ``[N, 28, 28]``, the same at every call.

    A network that learnt from such images should accept them too, so they have their say in the threshold.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        known = torch.from_numpy(validation.labels) if list(labels) == list(DATASET_LABELS) else None
        changed = as_photographed(torch.from_numpy(validation.images).unsqueeze(1).float(), known)
    return changed.clamp(0, 255).round().byte().squeeze(1).numpy()


def fit_reject(
    logits: np.ndarray, temperature: float, score: str = "certainty", acceptance: float = ACCEPTANCE
) -> dict[str, Any]:
    """The threshold that accepts this share of these garments, in the form that the metadata holds."""
    if score not in SCORES:
        raise ConfigError(f"unknown reject score '{score}'; known: {', '.join(SCORES)}")
    scores = SCORES[score](logits, softmax(logits, temperature))
    threshold = float(np.quantile(scores, 1 - acceptance))
    return {"score": score, "threshold": float(f"{threshold:.4g}"), "acceptance": acceptance}
