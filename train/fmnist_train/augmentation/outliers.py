"""Generated images without a garment, on which the network is trained towards equal probabilities.

This is outlier exposure (Hendrycks, Mazeika, Dietterich 2019, arXiv:1812.04606), which generalizes to kinds of images that
were never shown. The images are drawn from formulas, so no other data set is needed: strokes as in writing, filled shapes,
textures, noise, flat tones, garments cut into shuffled tiles, and accessories (``accessories.py``).
All return ``float32`` pixels in 0..255, ``[N, 1, 28, 28]``, and draw from the global generator.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.augmentation.accessories import belts, bottles, glasses, hats, watches
from fmnist_train.augmentation.drawing import blur, coordinates, draw, smooth_noise

__all__ = ["OUTLIER_WEIGHT", "draw_outliers", "uniform_loss"]

OUTLIER_WEIGHT = 0.5
"""Weight of ``uniform_loss`` relative to the loss on garments: the paper's value for images."""

_TILE = 7
"""Side of a shuffled tile, pixels: a quarter of the image."""


def draw_outliers(count: int, garments: Tensor) -> Tensor:
    """Returns ``count`` images without a garment, float32 ``[count, 1, 28, 28]`` in 0..255.

    Args:
        count: Number of images.
        garments: ``[M, 1, 28, 28]`` float in 0..255, at least one; used for the shuffled tiles.
    """
    kind = torch.randint(len(_KINDS), (count,), device=garments.device)
    images = garments[torch.randint(len(garments), (count,), device=garments.device)].clone()
    for number, make in enumerate(_KINDS):
        chosen = (kind == number).nonzero().squeeze(1)
        if len(chosen):
            images[chosen] = make(images[chosen])
    soft = torch.rand(count, 1, 1, 1, device=images.device) < 0.4
    return torch.where(soft, blur(images), images).clamp(0, 255)


def uniform_loss(logits: Tensor) -> Tensor:
    """Returns the cross-entropy of logits ``[N, classes]`` with equal probabilities, minus its minimum: a scalar, 0 is best."""
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])


def strokes(images: Tensor) -> Tensor:
    """Draws one to three curved strokes of a pen, as in letters, digits and cables."""
    count, device = len(images), images.device
    ends = torch.rand(count, 3, 3, 2, device=device) * 1.7 - 0.85  # three quadratic Bézier curves of three points
    joined = torch.rand(count, 1, device=device) < 0.7
    for i in (1, 2):
        ends[:, i, 0] = torch.where(joined, ends[:, i - 1, 2], ends[:, i, 0])
    t = torch.linspace(0, 1, 14, device=device).view(1, 1, -1, 1)
    path = (1 - t) ** 2 * ends[:, :, None, 0] + 2 * t * (1 - t) * ends[:, :, None, 1] + t**2 * ends[:, :, None, 2]
    drawn = torch.rand(count, 3, 1, 1, device=device) < torch.tensor([1.0, 0.7, 0.5], device=device).view(1, 3, 1, 1)
    path = torch.where(drawn, path, torch.full_like(path, 9.0)).view(count, -1, 1, 1, 2)
    y, x = coordinates(images)
    near = ((path[..., 1] - y[:, 0]) ** 2 + (path[..., 0] - x[:, 0]) ** 2).amin(1, keepdim=True).sqrt()
    return ((draw(images, 0.05, 0.22) - near) * 14).clamp(0, 1) * draw(images, 120, 255)


def shapes(images: Tensor) -> Tensor:
    """Draws a filled outline with a texture at a random place: round, cornered or lobed."""
    y, x = coordinates(images)
    y, x = (
        (y - draw(images, -0.3, 0.3)) * draw(images, 0.9, 2.2),
        (x - draw(images, -0.3, 0.3)) * draw(images, 0.9, 2.2),
    )
    angle = torch.atan2(y, x)
    outline = 1.0 + sum(
        draw(images, -0.5, 0.5) / k * torch.cos(k * angle + draw(images, 0, 2 * math.pi)) for k in range(1, 8)
    )
    box = torch.maximum(x.abs(), y.abs())
    radius = torch.where(draw(images, 0, 1) < 0.2, box, (x**2 + y**2).sqrt())
    return texture(images) * ((outline - radius) * 8).clamp(0, 1)


def texture(images: Tensor) -> Tensor:
    """Draws smooth or rough noise, or bars, over the whole frame."""
    y, x = coordinates(images)
    turn = draw(images, 0, math.pi)
    bars = torch.sin(draw(images, 3, 30) * (x * torch.cos(turn) + y * torch.sin(turn)) + draw(images, 0, 6))
    rough = torch.stack([smooth_noise(images, cells) for cells in (3, 6, 12, 28)])
    chosen = torch.randint(4, (len(images),), device=images.device)
    rough = rough[chosen, torch.arange(len(images), device=images.device)]
    pattern = torch.where(draw(images, 0, 1) < 0.35, bars, rough)
    return (draw(images, 40, 230) + pattern * draw(images, 0, 90)).clamp(0, 255)


def noise(images: Tensor) -> Tensor:
    """Draws uniform noise, or grains on black or white."""
    uniform = torch.rand_like(images)
    grains = (uniform < draw(images, 0.02, 0.6)).float()
    chosen = torch.where(draw(images, 0, 1) < 0.4, grains, uniform)
    return torch.where(draw(images, 0, 1) < 0.3, 1 - chosen, chosen) * draw(images, 80, 255)


def flat(images: Tensor) -> Tensor:
    """Draws one tone, or a gradient of tones."""
    y, x = coordinates(images)
    slope = (y * draw(images, -1, 1) + x * draw(images, -1, 1)) * draw(images, 0, 120)
    return (draw(images, 0, 255) + torch.where(draw(images, 0, 1) < 0.5, slope, torch.zeros_like(slope))).expand_as(
        images
    )


def shuffled_tiles(images: Tensor) -> Tensor:
    """Shuffles 7×7 tiles of garments: textures and edges stay, the shape is lost."""
    side = IMAGE_SIZE // _TILE
    tiles = F.unfold(images, _TILE, stride=_TILE)
    order = torch.rand(len(images), 1, side * side, device=images.device).argsort(-1)
    return F.fold(tiles.gather(2, order.expand_as(tiles)), images.shape[-2:], _TILE, stride=_TILE)


_KINDS: tuple[Callable[[Tensor], Tensor], ...] = (
    strokes,
    shapes,
    texture,
    noise,
    flat,
    shuffled_tiles,
    strokes,
    shapes,
    belts,
    watches,
    glasses,
    hats,
    bottles,
)
"""Kinds of generated images, drawn with equal probability; strokes and shapes, the most varied, are listed twice."""
