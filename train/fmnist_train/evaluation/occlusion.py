"""Occlusion sensitivity (Zeiler and Fergus 2014, arXiv:1311.2901): the change of the logits when a small square is hidden.

The method needs only the outputs of a model, so it works for an int8 file as well as for a checkpoint.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["occlusion_maps", "overlay"]

PATCH, STRIDE = 6, 2
"""Side of the hidden square, and distance between two squares, in pixels: fine enough for a sleeve, with 144 passes."""
_FOR, _AGAINST = (230, 159, 0), (86, 180, 233)
"""Colors of pixels for the predicted and for the true class: orange and sky blue of Okabe and Ito."""


def occlusion_maps(
    logits: Callable[[np.ndarray], np.ndarray], images: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> np.ndarray:
    """Computes each pixel's contribution to the predicted class against the true one.

    A square of 6×6 pixels is set to 0, the background, at every second row and column. Its contribution is the decrease of
    the margin: the logit of the predicted class minus that of the true class. The contribution of a pixel is the mean over
    the squares that cover it.

    Args:
        logits: Function of the model, from uint8 ``[N, 28, 28]`` to logits ``[N, classes]``.
        images: uint8 ``[N, 28, 28]``.
        predicted: Predicted class ids, int ``[N]``.
        true: True class ids, int ``[N]``, other than the predicted ones.

    Returns:
        float32 ``[N, 28, 28]`` in logits; negative where the pixel supports the true class.
    """
    side = images.shape[-1]
    corners = [(y, x) for y in range(0, side - PATCH + 1, STRIDE) for x in range(0, side - PATCH + 1, STRIDE)]
    masks = np.zeros((len(corners), side, side), bool)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y : y + PATCH, x : x + PATCH] = True
    coverage = masks.sum(axis=0)
    maps = np.empty(images.shape, np.float32)
    for position, image in enumerate(images):
        values = logits(np.concatenate([image[np.newaxis], np.where(masks, np.uint8(0), image)]))
        margin = values[:, predicted[position]] - values[:, true[position]]
        maps[position] = np.tensordot(margin[0] - margin[1:], masks, axes=1) / coverage
    return maps


def overlay(image: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Blends a map with its image: orange for positive, blue for negative contributions, stronger for larger ones.

    Args:
        image: uint8 ``[H, W]``.
        contribution: float ``[H, W]``, signed.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    strength = contribution / max(float(np.abs(contribution).max()), 1e-9)
    color = np.where(strength[..., np.newaxis] > 0, _FOR, _AGAINST)
    share = 0.75 * np.abs(strength)[..., np.newaxis]
    gray = 0.8 * np.repeat(image[..., np.newaxis], 3, axis=2)
    return np.rint(gray * (1 - share) + color * share).astype(np.uint8)
