"""Drawings of things that shops show and the data set lacks: slippers seen obliquely, and backpacks.

A shop's sandal is often a flip-flop or a slide without a heel strap, photographed from the side and a little above; its
foot bed closes the gaps that sandals of the data set have. A backpack has the outline of a garment, not of a handbag.
Each drawing takes few random numbers. Tensors as in ``drawing.py``.
"""

import math

import torch
from torch import Tensor

from fmnist_train.augmentation.drawing import downsample, draw, fine_grid, rotated_coordinates, smooth_noise

__all__ = ["draw_backpacks", "draw_slippers"]

_ARCH_STEPS = 9
"""Points at which a strap is drawn between its two ends: enough that it has no gaps on the finer grid."""
_STRAP = 0.35
"""Half the length of an arched strap that each point covers, in half widths of the sole."""


def draw_slippers(images: Tensor) -> Tensor:
    """Draws one shoe for each image: a sole in perspective, under the thong of a flip-flop or one broad strap."""
    waist, foreshortening, rise = (draw(images, *span) for span in ((0, 0.2), (0.25, 0.42), (0.15, 0.45)))
    sole, strap, rim = (draw(images, 0.35, 1.0) for _ in range(3))
    edge, half, place = (draw(images, *span) for span in ((0.04, 0.16), (0.12, 0.45), (0.0, 0.45)))
    thong, slant = draw(images, 0, 1) < 0.5, draw(images, -0.1, 0.5)
    y, x = rotated_coordinates(images, draw(images, -0.05, 0.5))

    def plane(height: Tensor) -> tuple[Tensor, Tensor]:
        """Returns, for each pixel, the coordinates across and along the shoe in a plane at ``height`` over its foot bed."""
        up = y + height
        return up / foreshortening, (x + slant * up) / 0.95

    canvas = torch.full_like(y, -1)
    for depth, tone in ((edge, rim), (edge / 2, rim), (0 * edge, sole)):
        across, along = plane(-depth)
        canvas = torch.where(across.abs() < _outline(along, waist), tone, canvas)
    for step in torch.linspace(0, 1, _ARCH_STEPS, device=images.device):
        arch = torch.sin(math.pi * step)
        # The thong's two legs run from between the toes to both edges; the band goes from edge to edge.
        across, along = plane(rise * torch.where(thong, 0.6, 1.0) * arch)
        far, near = ((across - side * 0.95 * step).abs() < _STRAP for side in (-1, 1))
        legs = (far | near) & ((along - 0.6 + 0.75 * step).abs() < 0.13 + 0.1 * step)
        band = ((across - 1.9 * step + 0.95).abs() < _STRAP) & ((along - place).abs() < half * (1.2 - 0.3 * arch))
        canvas = torch.where(torch.where(thong, legs, band), strap, canvas)
    drawn = _with_grain(images, canvas)
    return torch.where(draw(images, 0, 1) < 0.5, drawn, drawn.flip(-1))


def draw_backpacks(images: Tensor) -> Tensor:
    """Draws one for each image: a shell with a domed top, often a loop, side pockets, and pockets with seams."""
    y, x = rotated_coordinates(images, draw(images, -0.1, 0.1))
    half, taper, dome = (draw(images, *span) for span in ((0.45, 0.75), (-0.1, 0.15), (2.0, 6.0)))
    body, pocket, seam, strap = (draw(images, 0.2, 1.0) for _ in range(4))

    def shell(top: Tensor, bottom: Tensor, width: Tensor) -> Tensor:
        """Returns the distance of each pixel from the sides of a domed outline, in half frames; below 0 outside of it."""
        along = ((y - top) / (bottom - top)).clamp(0, 1)
        rounded = 1 - 0.9 * (1 - 2 * along).clamp(min=0) ** dome - 0.25 * (10 * along - 9).clamp(min=0) ** 3
        return torch.where((y > top) & (y < bottom), width * (1 - taper * (1 - along)) * rounded - x.abs(), -1)

    top = draw(images, -0.95, -0.7)
    loop = ((x / draw(images, 0.12, 0.25)) ** 2 + ((y - top) / draw(images, 0.1, 0.22)) ** 2 - 1).abs() < 0.5
    canvas = torch.where(loop & (draw(images, 0, 1) < 0.8), strap, torch.full_like(y, -1))
    bottles = (x.abs() < half + draw(images, -0.05, 0.2)) & (y > draw(images, 0.1, 0.5)) & (y < 0.85)
    canvas = torch.where(bottles & (draw(images, 0, 1) < 0.5), pocket, canvas)
    inside = shell(top, torch.full_like(top, 0.95), half)
    piped = (inside < 0.1) & (draw(images, 0, 1) < 0.5)
    canvas = torch.where(inside > 0, torch.where(piped, seam, body), canvas)
    for low, high, chance in ((-0.1, 0.35, 0.85), (-0.6, -0.2, 0.4)):
        front = shell(draw(images, low, high), draw(images, high + 0.2, 0.9), half * draw(images, 0.6, 0.95))
        sewn = (front > 0) & (draw(images, 0, 1) < chance)
        canvas = torch.where(sewn, torch.where(front < 0.1, seam, pocket), canvas)
    return _with_grain(images, canvas)


def _outline(along: Tensor, waist: Tensor) -> Tensor:
    """Returns half the width of a sole that is round at both ends, wide at the toes and narrow in the middle.

    Args:
        along: Coordinate along the shoe, -1 (heel) to 1 (toe).
        waist: Share by which the middle is narrower.
    """
    narrow = 0.9 + 0.08 * along - waist * torch.exp(-(((along + 0.15) / 0.35) ** 2))
    return narrow * (1 - along.abs().clamp(max=1) ** 3.5).sqrt()


def _with_grain(images: Tensor, canvas: Tensor) -> Tensor:
    """Adds grain to a drawing, and averages it to the grid of the images.

    Args:
        images: ``[N, 1, H, W]``, for the shape.
        canvas: Tones 0..1 on the finer grid, below 0 on the background.
    """
    grain = smooth_noise(fine_grid(images), 14) * draw(images, 0, 0.1)
    return downsample((canvas + grain).clamp(0.1, 1) * (canvas >= 0)) * 255
