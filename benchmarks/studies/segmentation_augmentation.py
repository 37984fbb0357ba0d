"""Training photos of the segmentation, and their random changes: crop, tilt, mirror, color, and another background."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_runtime.spec import PIXEL_MEAN

__all__ = ["Sample", "change"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Photos at working size, padded to 128×128, with their targets."""

    rgb: np.ndarray
    """uint8 ``[N, 3, 128, 128]``."""
    mask: np.ndarray
    """Target, bool ``[N, 128, 128]``."""
    size: np.ndarray
    """Height and width, ``[N, 2]``."""
    trusted: np.ndarray
    """Whether the classifier's answer through the mask is an accepted one, bool ``[N]``."""
    answers: np.ndarray
    """Accepted classes, bool ``[N, 10]``."""

    def take(self, chosen: np.ndarray) -> "Sample":
        return Sample(**{name: values[chosen] for name, values in vars(self).items()})


def change(sample: Sample, rng: np.random.Generator) -> Sample:
    """Changes each photo at random; a quarter of the garments are pasted on another background."""
    grids, sizes = zip(*(_grid(size, rng) for size in sample.size.tolist()), strict=True)
    side = sample.rgb.shape[-1]
    layers = np.concatenate([sample.rgb, sample.mask[:, None] * np.uint8(255)], axis=1)
    moved = F.grid_sample(torch.from_numpy(layers).float(), torch.stack(grids), align_corners=True)
    rgb, soft = moved[:, :3], moved[:, 3:] / 255
    for number in np.flatnonzero((rng.random(len(rgb)) < 0.25) & sample.trusted).tolist():
        rgb[number] = _paste(rgb[number], soft[number], _background(sample, number, rng), rng)
    rgb = _recolor(rgb, rng)
    result = np.full((len(rgb), 3, side, side), PIXEL_MEAN, np.uint8)
    mask = np.zeros((len(rgb), side, side), bool)
    pixels, edges = rgb.clamp(0, 255).round().byte().numpy(), (soft[:, 0] > 0.5).numpy()
    for number, (height, width) in enumerate(sizes):
        result[number, :, :height, :width] = pixels[number, :, :height, :width]
        mask[number, :height, :width] = edges[number, :height, :width]
    return Sample(result, mask, np.array(sizes), sample.trusted, sample.answers)


def _grid(size: list[int], rng: np.random.Generator, side: int = 128) -> tuple[Tensor, tuple[int, int]]:
    """Returns where each pixel of the changed photo lies in the photo, and the size of the changed one."""
    height, width = size
    cut = rng.uniform(0, 0.14, 4) * (rng.random(4) < 0.6)
    top, bottom, left, right = cut * (height, height, width, width)
    crop = np.array([height - top - bottom, width - left - right])
    scale = side / crop.max()
    new = np.maximum(np.round(crop * scale), 1).astype(int)
    angle = np.deg2rad(rng.uniform(-12, 12)) * (rng.random() < 0.6)
    mirror = rng.choice([-1, 1])
    y, x = np.meshgrid(*(((np.arange(side) + 0.5) - n / 2) / scale for n in new), indexing="ij")
    x = x * mirror
    across = np.cos(angle) * x - np.sin(angle) * y + left + crop[1] / 2 - 0.5
    down = np.sin(angle) * x + np.cos(angle) * y + top + crop[0] / 2 - 0.5
    places = np.stack([_reflect(across, width), _reflect(down, height)], axis=-1) * (2 / (side - 1)) - 1
    return torch.from_numpy(places.astype(np.float32)), (int(new[0]), int(new[1]))


def _reflect(position: np.ndarray, length: int) -> np.ndarray:
    period = 2 * (length - 1)
    position = np.abs(position) % period
    reflected: np.ndarray = np.minimum(position, period - position)
    return reflected


def _background(sample: Sample, number: int, rng: np.random.Generator) -> Tensor:
    """Returns a plain background, or the largest strip beside the garment of the next photo, tiled by mirroring."""
    side = sample.rgb.shape[-1]
    if rng.random() < 0.4:
        color = np.full(3, 255.0) if rng.random() < 0.6 else rng.uniform(150, 255) * (1 - rng.uniform(0, 0.12, 3))
        light = 1 - rng.uniform(0, 0.1) * np.linspace(0, 1, side)
        noise = rng.normal(0, rng.uniform(0, 1.5), (1, side, side))
        return torch.from_numpy((color[:, None, None] * light[:, None] + noise).astype(np.float32))
    other = (number + 1) % len(sample.size)
    height, width = sample.size[other].tolist()
    rows, columns = (np.flatnonzero(sample.mask[other].any(axis=axis)) for axis in (1, 0))
    boxes = [(0, height, 0, width)]
    if len(rows):
        boxes = [(0, rows[0], 0, width), (rows[-1] + 1, height, 0, width)]
        boxes += [(0, height, 0, columns[0]), (0, height, columns[-1] + 1, width)]
    top, bottom, left, right = max(boxes, key=lambda box: min(box[1] - box[0], box[3] - box[2]))
    if min(bottom - top, right - left) < 4:
        top, bottom, left, right = 0, height, 0, width
    strip = sample.rgb[other][:, top:bottom, left:right]
    start, step = rng.integers(0, side, 2), rng.uniform(0.5, 1)
    down, across = (
        np.rint(_reflect(start[axis] + step * np.arange(side), max(strip.shape[axis + 1], 2)))
        .astype(int)
        .clip(max=strip.shape[axis + 1] - 1)
        for axis in (0, 1)
    )
    return torch.from_numpy(strip[:, down[:, None], across].astype(np.float32))


def _paste(rgb: Tensor, mask: Tensor, background: Tensor, rng: np.random.Generator) -> Tensor:
    """Puts a garment on a background, with a soft shadow beside it in half of the cases."""
    alpha = (F.avg_pool2d(mask[None], 3, 1, 1)[0] * 2 - 1).clamp(0, 1)  # without the outermost pixel
    if rng.random() < 0.5:
        down, across = rng.integers(-5, 6, 2).tolist()
        shadow = F.avg_pool2d(torch.roll(mask, (down, across), (1, 2))[None], 9, 1, 4)[0]
        background = background * (1 - rng.uniform(0.1, 0.4) * shadow)
    return alpha * rgb + (1 - alpha) * background


def _recolor(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Changes brightness, contrast, saturation, gamma and the color of the light; blurs or adds noise to some."""
    count = len(rgb)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1)).astype(np.float32))

    gray = rgb.mean(1, keepdim=True)
    rgb = gray + (rgb - gray) * draw(0.5, 1.5)
    mean = rgb.mean((1, 2, 3), keepdim=True)
    rgb = (mean + (rgb - mean) * draw(0.7, 1.3)) * draw(0.8, 1.2) * draw(0.85, 1.15, 3)
    rgb = 255 * (rgb.clamp(0, 255) / 255) ** torch.exp(draw(-0.4, 0.4))
    blurred = F.avg_pool2d(rgb, 3, 1, 1, count_include_pad=False)
    rgb = torch.where(torch.from_numpy(rng.random((count, 1, 1, 1)) < 0.2), blurred, rgb)
    noisy = torch.from_numpy((rng.random((count, 1, 1, 1)) < 0.3) * rng.uniform(0, 8, (count, 1, 1, 1))).float()
    return rgb + noisy * torch.from_numpy(rng.standard_normal(rgb.shape, np.float32))
