"""Where a network looked: hide a small square at every place and see how much the answer changes.

Occlusion sensitivity (Zeiler and Fergus 2014, arXiv:1311.2901). It needs nothing of the model but answers, so it works
for an int8 file as well as for a checkpoint.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["occlusion_maps", "overlay"]

PATCH, STRIDE = 6, 2
_FOR, _AGAINST = (230, 159, 0), (86, 180, 233)
"""Orange and sky blue of Okabe and Ito."""


def occlusion_maps(
    logits: Callable[[np.ndarray], np.ndarray], images: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> np.ndarray:
    """How much each pixel spoke for the predicted class and against the true one.

    A square of 6×6 pixels at every second place is replaced by the ground (0); the fall of the difference between both
    logits is what the square contributed, and a pixel gets the mean of the squares that cover it.

    Args:
        logits: the model, from uint8 ``[N, 28, 28]`` to ``[N, classes]``.
        images: uint8 ``[N, 28, 28]``.
        predicted: int ``[N]``, class ids.
        true: int ``[N]``, other class ids.

    Returns:
        float32 ``[N, 28, 28]`` in logits; negative where the pixel spoke for the true class.
    """
    side = images.shape[-1]
    corners = [(y, x) for y in range(0, side - PATCH + 1, STRIDE) for x in range(0, side - PATCH + 1, STRIDE)]
    masks = np.zeros((len(corners), side, side), bool)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y : y + PATCH, x : x + PATCH] = True
    coverage = masks.sum(axis=0)
    maps = np.empty(images.shape, np.float32)
    for place, image in enumerate(images):
        answers = logits(np.concatenate([image[np.newaxis], np.where(masks, np.uint8(0), image)]))
        margin = answers[:, predicted[place]] - answers[:, true[place]]
        maps[place] = np.tensordot(margin[0] - margin[1:], masks, axes=1) / coverage
    return maps


def overlay(image: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Lay a map over its image: orange for, blue against, stronger where it counts more.

    Args:
        image: uint8 ``[H, W]``.
        contribution: float ``[H, W]``, signed.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    strength = contribution / max(float(np.abs(contribution).max()), 1e-9)
    colour = np.where(strength[..., np.newaxis] > 0, _FOR, _AGAINST)
    share = 0.75 * np.abs(strength)[..., np.newaxis]
    grey = 0.8 * np.repeat(image[..., np.newaxis], 3, axis=2)
    return np.rint(grey * (1 - share) + colour * share).astype(np.uint8)
