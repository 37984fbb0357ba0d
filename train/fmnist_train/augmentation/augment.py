"""Augmentation as batched functions on the training device, from ``uint8`` pixels to ``float32`` pixels in 0..255.

Tensor operations change the whole batch at once, which keeps epochs short. Random numbers come from the global generator of
the device, which the loop seeds at each epoch.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_train.augmentation.drawing import draw
from fmnist_train.augmentation.photo import as_photographed
from fmnist_train.recipes import Augmentation

__all__ = [
    "augment",
    "random_affine",
    "random_erase",
    "random_flip",
    "random_mixup",
    "random_quarter_turn",
    "random_shift",
]


def augment(images: Tensor, labels: Tensor | None, settings: Augmentation) -> tuple[Tensor, Tensor]:
    """Changes a batch of images at random.

    Args:
        images: ``[N, 1, H, W]`` uint8, or float in 0..255.
        labels: ``[N]`` Fashion-MNIST class ids, which the setting ``photo`` uses; None for other classes.
        settings: Kinds and strengths of the changes; the defaults leave all pixels unchanged.

    Returns:
        Changed images, float32 ``[N, 1, H, W]`` in 0..255; and which of them ``photo`` changed, bool ``[N]``.
    """
    images = images.to(torch.float32)
    if settings.flip:
        images = random_flip(images, settings.flip)
    if settings.shift:
        images = random_shift(images, settings.shift)
    if settings.rotation or settings.translation or settings.scale != (1.0, 1.0):
        images = random_affine(images, settings.rotation, settings.translation, settings.scale)
    photographed = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    if settings.photo:
        photographed = torch.rand(len(images), device=images.device) < settings.photo
        chosen = photographed.nonzero().squeeze(1)
        images = images.index_copy(
            0, chosen, as_photographed(images[chosen], None if labels is None else labels[chosen])
        )
    if settings.erase:
        images = random_erase(images, settings.erase)
    if settings.mixup:
        images = random_mixup(images, settings.mixup)
    return images, photographed


def random_flip(images: Tensor, probability: float) -> Tensor:
    """Mirrors each image left to right with the given probability."""
    chosen = draw(images, 0, 1) < probability
    return torch.where(chosen, images.flip(-1), images)


def random_quarter_turn(images: Tensor, probability: float) -> Tensor:
    """Rotates each chosen square image by one, two or three quarters of a circle, with equal probability."""
    chosen = draw(images, 0, 1) < probability
    quarters = draw(images, 1, 4).floor()
    for number in (1, 2, 3):
        images = torch.where(chosen & (quarters == number), images.rot90(number, (2, 3)), images)
    return images


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Shifts each image by up to ``pixels`` whole pixels either way along both axes; new pixels are 0."""
    count, _, height, width = images.shape
    padded = F.pad(images, [pixels] * 4)
    top, left = torch.randint(2 * pixels + 1, (2, count, 1), device=images.device)
    rows = (top + torch.arange(height, device=images.device)).view(count, 1, height, 1)
    columns = (left + torch.arange(width, device=images.device)).view(count, 1, 1, width)
    return padded[torch.arange(count, device=images.device).view(count, 1, 1, 1), 0, rows, columns]


def random_affine(images: Tensor, rotation: float, translation: float, scale: tuple[float, float]) -> Tensor:
    """Rotates, shifts and zooms each image about its center, bilinearly; new pixels are 0, the background."""
    angle = draw(images, -math.radians(rotation), math.radians(rotation)).flatten()
    zoom = draw(images, *scale).flatten()
    # affine_grid maps output positions to input positions in units of half a side: hence 1 / zoom and twice the shift.
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift = [draw(images, -2 * translation, 2 * translation).flatten() for _ in range(2)]
    matrix = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def random_erase(
    images: Tensor,
    probability: float,
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
) -> Tensor:
    """Replaces one random rectangle of each chosen image by uniform noise (random erasing, arXiv:1708.04896)."""
    height, width = images.shape[-2:]
    device = images.device
    share = draw(images, *area) * height * width
    ratio = torch.exp(draw(images, math.log(aspect[0]), math.log(aspect[1])))
    box_h = (share * ratio).sqrt().clamp(max=height)
    box_w = (share / ratio).sqrt().clamp(max=width)
    top = draw(images, 0, 1) * (height - box_h)
    left = draw(images, 0, 1) * (width - box_w)
    row = torch.arange(height, device=device).view(1, 1, height, 1)
    column = torch.arange(width, device=device).view(1, 1, 1, width)
    inside = (row >= top) & (row < top + box_h) & (column >= left) & (column < left + box_w)
    noise = torch.rand_like(images) * 255
    return torch.where(inside & (draw(images, 0, 1) < probability), noise, images)


def random_mixup(images: Tensor, probability: float) -> Tensor:
    """Blends each chosen image with another one of the batch, in uniformly drawn shares (mixup, arXiv:1710.09412).

    With uniform shares few images stay nearly unmixed, which suits distillation with teachers that get the same blends (Beyer
    et al. 2022, arXiv:2106.05237).
    """
    partner = images[torch.randperm(len(images), device=images.device)]
    blended = torch.lerp(images, partner, draw(images, 0, 1))
    return torch.where(draw(images, 0, 1) < probability, blended, images)
