"""Drawings of pairs of shoes seen from above: the data set shows shoes only from the side, photos often from above.

A pair is two outlines side by side, toes up or down. Sneakers have laces and an opening for the foot, sandals straps over a
sole, boots a shaft. Each is drawn from a few random numbers in the coordinates of one shoe: ``across`` from -1 to 1 within
its width, ``along`` from -1 (heel) to 1 (toe). Tensors as in ``drawing.py``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fmnist_train.augmentation.drawing import downsample, draw, fine_grid, rotated_coordinates, smooth_noise

__all__ = ["draw_boots", "draw_sandals", "draw_sneakers", "outline"]

Shoe = Callable[[Tensor, Tensor], Tensor]
"""Function from the coordinates across and along one shoe to its tones 0..1, below 0 outside of the shoe."""


def draw_sneakers(images: Tensor) -> Tensor:
    """Draws a pair for each image: upper with laces or tongue, opening, random_apply a toe cap and the sole's rim."""
    waist, upper, inner, tongue, cap, rim = (draw(images, *span) for span in ((0, 0.2), *[(0.15, 1.0)] * 5))
    opening = draw(images, 0.25, 0.5)
    laces = draw(images, 8, 16)
    laced, capped, rimmed = (draw(images, 0, 1) < chance for chance in (0.7, 0.3, 0.5))

    def sneaker(across: Tensor, along: Tensor) -> Tensor:
        width = outline(along, waist)
        tone = torch.where(capped & (along > 0.55), cap, upper)
        bars = torch.where(laced & (torch.sin(laces * along) > 0), tongue, upper)
        tone = torch.where((across.abs() < 0.4) & (along > -0.3) & (along < 0.45), bars, tone)
        foot = (across / 0.6) ** 2 + ((along + 0.9 - opening) / opening) ** 2 < 1
        tone = torch.where(foot, inner, tone)
        tone = torch.where(rimmed & (across.abs() > 0.8 * width), rim, tone)
        return torch.where(across.abs() < width, tone, -1)

    return _pair(images, sneaker)


def draw_sandals(images: Tensor) -> Tensor:
    """Draws a pair for each image: a sole with up to three straps across, or the thong of a flip-flop."""
    waist, sole, strap = (draw(images, *span) for span in ((0, 0.2), (0.1, 1.0), (0.1, 1.0)))
    centers = [draw(images, *span) for span in ((0.25, 0.65), (-0.15, 0.3), (-0.7, -0.3))]
    present = [draw(images, 0, 1) < chance for chance in (0.85, 0.6, 0.35)]
    half, tilt, reach = draw(images, 0.07, 0.22), draw(images, -0.3, 0.3), draw(images, 1.0, 1.15)
    thong = draw(images, 0, 1) < 0.25

    def sandal(across: Tensor, along: Tensor) -> Tensor:
        width = outline(along, waist)
        strapped = torch.zeros_like(across, dtype=torch.bool)
        for center, is_present in zip(centers, present, strict=True):
            strapped = strapped | (is_present & ((along - center - tilt * across).abs() < half))
        leg = ((across.abs() - 0.9 * (0.6 - along)).abs() < 0.2) & (along > -0.3) & (along < 0.65)
        strapped = torch.where(thong, leg, strapped)
        tone = torch.where(strapped, strap, sole)
        return torch.where(across.abs() < torch.where(strapped, reach * width, width), tone, -1)

    return _pair(images, sandal)


def draw_boots(images: Tensor) -> Tensor:
    """Draws a pair for each image, from the front: shaft with opening, ankle, round toe, random_apply laces."""
    ankle, shaft, toe, inner, lace = (draw(images, *span) for span in ((0.05, 0.3), *[(0.2, 1.0)] * 4))
    sole = draw(images, 0.1, 1.0)
    opening, laces, turn_up = draw(images, 0.08, 0.25), draw(images, 8, 16), draw(images, -0.1, 0.25)
    laced, soled, two_tones = (draw(images, 0, 1) < chance for chance in (0.4, 0.4, 0.5))

    def boot(across: Tensor, along: Tensor) -> Tensor:
        narrow = 1 - ankle * torch.exp(-(((along - 0.1) / 0.3) ** 2))
        width = 0.92 * narrow * (1 - along.clamp(min=0) ** 5).clamp(min=0).sqrt() * (along > -1)
        tone = torch.where(two_tones & (along > turn_up + 0.2), toe, shaft)
        bars = torch.where(torch.sin(laces * along) > 0, lace, tone)
        tone = torch.where(laced & (across.abs() < 0.35) & (along > -0.7) & (along < 0.4), bars, tone)
        tone = torch.where((across / 0.75) ** 2 + ((along + 0.97 - opening) / opening) ** 2 < 1, inner, tone)
        tone = torch.where(soled & (along > 0.8), sole, tone)
        return torch.where(across.abs() < width, tone, -1)

    return _pair(images, boot, toes_down=0.9)


def outline(along: Tensor, waist: Tensor) -> Tensor:
    """Returns half the width of a sole that is round at both ends, wide at the toes and narrow in the middle.

    Args:
        along: Coordinate along the shoe, -1 (heel) to 1 (toe).
        waist: Share by which the middle is narrower.
    """
    narrow = 0.9 + 0.08 * along - waist * torch.exp(-(((along + 0.15) / 0.35) ** 2))
    return narrow * (1 - along.abs().clamp(max=1) ** 3.5).sqrt()


def _pair(images: Tensor, shoe: Shoe, toes_down: float = 0.5) -> Tensor:
    """Draws a shoe and its mirror image, each rotated a little; rarely one shoe alone, or both askew."""
    askew = torch.where(draw(images, 0, 1) < 0.2, draw(images, -math.pi / 2, math.pi / 2), draw(images, -0.12, 0.12))
    y, x = rotated_coordinates(images, askew)
    y = torch.where(draw(images, 0, 1) < toes_down, y, -y)
    half = draw(images, 0.3, 0.5)
    apart, drop, alone = half * draw(images, 0.9, 1.25), draw(images, -0.08, 0.08), draw(images, 0, 1) < 0.1
    canvas = torch.full_like(x, -1)
    for side in (-1, 1):
        turn = draw(images, -0.12, 0.22)
        right, down = side * (x - torch.where(alone, 0 * apart, side * apart)), y - side * drop
        across = (torch.cos(turn) * right - torch.sin(turn) * down) / half
        along = (torch.cos(turn) * down + torch.sin(turn) * right) / 0.93
        seen = shoe(across, along)
        canvas = torch.where(seen >= 0, seen, canvas)
    shoes = canvas >= 0
    grain = smooth_noise(fine_grid(images), 14) * draw(images, 0, 0.12)
    return downsample((canvas + grain).clamp(0.1, 1) * shoes) * 255
