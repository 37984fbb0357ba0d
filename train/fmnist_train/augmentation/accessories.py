"""Drawings of objects that belong to none of the ten classes: belts, watches, glasses, hats, bottles.

``outliers.py`` uses them as examples of images to reject. A drawing is made from a few random numbers, in coordinates from -1
to 1 that are rotated a little. It fills the frame, as after the device's preprocessing. Tensors as in ``drawing.py``.
"""

import torch
from torch import Tensor

from fmnist_train.augmentation.drawing import (
    crop_to_foreground,
    downsample,
    draw,
    fine_grid,
    full_range,
    random_apply,
    rotated_coordinates,
    smooth_noise,
)

__all__ = ["belts", "bottles", "glasses", "hats", "watches"]

Layer = tuple[Tensor, Tensor]
"""Boolean mask of the pixels to paint, and their tone, 0 to 1."""


def belts(images: Tensor) -> Tensor:
    """Draws rolled-up belts seen obliquely: a flat ring, its inside, stitches or stripes, a buckle."""
    y, x = rotated_coordinates(images, draw(images, -0.2, 0.2))
    high, band = draw(images, 0.3, 0.65), draw(images, 0.15, 0.4)
    place, buckle = draw(images, -0.6, 0.6), draw(images, 0.12, 0.28)
    outer = _ellipse(x, y, 0.97, high)
    hole = _ellipse(x, y + band * draw(images, 0, 0.5), draw(images, 0.75, 0.93), high - band / 2)
    front = high * (1 - (place / 0.97) ** 2).sqrt() - band / 2
    box = torch.maximum((x - place).abs() / 1.2, (y - front).abs())
    return _paint(
        images,
        (outer, _tone(images)),
        (outer & (torch.sin(draw(images, 10, 40) * (x + draw(images, 0, 1) * y)) > 0.6), _tone(images)),
        (hole, torch.where(draw(images, 0, 1) < 0.5, torch.zeros_like(place), _tone(images))),
        (box < buckle, _tone(images)),
        (box < 0.6 * buckle, _tone(images)),
    )


def watches(images: Tensor) -> Tensor:
    """Draws watches: a strap from top to bottom, a case, a dial with hands or marks."""
    y, x = rotated_coordinates(images, draw(images, -0.15, 0.15))
    size, strap = draw(images, 0.45, 0.85), draw(images, 0.25, 0.5)
    round_case = (x**2 + y**2).sqrt()
    case = torch.where(draw(images, 0, 1) < 0.65, round_case, torch.maximum(x.abs(), 0.85 * y.abs()))
    angle = torch.atan2(y, x)
    marks = (torch.sin(draw(images, 3, 12).round() * angle) > 0.5) & (case > 0.6 * size) & (case < 0.8 * size)
    hand = torch.cos(angle - draw(images, 0, 6.3)) > 0.97
    return _paint(
        images,
        ((x.abs() < strap * (1 - 0.3 * y.abs())) & (y.abs() < draw(images, 0.85, 1.0)), _tone(images)),
        (case < size, _tone(images)),
        (case < 0.8 * size, _tone(images)),
        (marks | (hand & (case < 0.6 * size)), _tone(images)),
    )


def glasses(images: Tensor) -> Tensor:
    """Draws glasses: two lenses in a frame, a bridge, and often a temple at an angle."""
    y, x = rotated_coordinates(images, draw(images, -0.4, 0.4))
    wide, high = draw(images, 0.3, 0.45), draw(images, 0.2, 0.42)
    lens = torch.minimum(*(((x - side * 0.48) / wide) ** 4 + (y / high).abs() ** 3 for side in (-1, 1)))
    bridge = (x.abs() < 0.2) & ((y + 0.5 * high).abs() < draw(images, 0.04, 0.1))
    rise = draw(images, -0.5, 0.5)
    temple = (y - rise * (x + 0.9) + 0.5 * high).abs() < draw(images, 0.04, 0.12)
    temple &= (x > -0.9) & (x < draw(images, 0.2, 1.0)) & (draw(images, 0, 1) < 0.6)
    return _paint(images, (temple | bridge | (lens < 1), _tone(images)), (lens < draw(images, 0.5, 1.0), _tone(images)))


def hats(images: Tensor) -> Tensor:
    """Draws hats: a dome with a brim or a cuff; random_apply a bobble, stripes, or a badge."""
    y, x = rotated_coordinates(images, draw(images, -0.3, 0.3))
    edge, wide = draw(images, 0.1, 0.75), draw(images, 0.65, 0.95)
    dome = _ellipse(x, y - edge, wide, edge + draw(images, 0.75, 0.95)) & (y < edge)
    side = draw(images, -0.7, 0.7)
    brim = _ellipse(x - side, y - edge, draw(images, 0.4, 1.0), draw(images, 0.12, 0.45)) & (draw(images, 0, 1) < 0.6)
    cuff = (x.abs() < 1.05 * wide) & ((y - edge + 0.12).abs() < draw(images, 0.08, 0.25)) & (draw(images, 0, 1) < 0.4)
    bobble = _ellipse(x, y + 0.85, 0.2, 0.2) & (draw(images, 0, 1) < 0.2)
    stripes = dome & (torch.sin(draw(images, 4, 20) * y) > 0) & (draw(images, 0, 1) < 0.3)
    badge = _ellipse(x - 0.3 * side, y - edge + 0.55, draw(images, 0.1, 0.4), draw(images, 0.1, 0.3))
    return _paint(
        images,
        (brim, _tone(images)),
        (dome | bobble, _tone(images)),
        (stripes, _tone(images)),
        (badge & dome & (draw(images, 0, 1) < 0.5), _tone(images)),
        (cuff, _tone(images)),
    )


def bottles(images: Tensor) -> Tensor:
    """Draws bottles: a straight or bulging body, a neck or cap above it, a label."""
    y, x = rotated_coordinates(images, draw(images, -0.1, 0.1))
    shoulder, wide, bulge = draw(images, -0.7, 0.2), draw(images, 0.2, 0.75), draw(images, -0.3, 0.3)
    body = (y > shoulder) & (x.abs() < wide * (1 + bulge * (y - shoulder)))
    neck = (y <= shoulder) & (x.abs() < wide * draw(images, 0.25, 1.0))
    label = torch.maximum(x.abs() / 1.2, (y - draw(images, 0.2, 0.6)).abs()) < wide * draw(images, 0.2, 0.6)
    return _paint(
        images,
        (neck, _tone(images)),
        (body, _tone(images)),
        (body & label & (draw(images, 0, 1) < 0.7), _tone(images)),
        (neck & (y > shoulder - 0.12) & (draw(images, 0, 1) < 0.5), _tone(images)),
    )


def _tone(images: Tensor) -> Tensor:
    return draw(images, 0.1, 1.0)


def _ellipse(x: Tensor, y: Tensor, wide: Tensor | float, high: Tensor | float) -> Tensor:
    return (x / wide) ** 2 + (y / high) ** 2 < 1


def _paint(images: Tensor, *layers: Layer) -> Tensor:
    """Paints layers over black, the last on top, and adds uneven light and grain; most results are enlarged to the frame."""
    canvas = torch.zeros_like(layers[0][0], dtype=torch.float32)
    for where, tone in layers:
        canvas = torch.where(where, tone, canvas)
    light = 1 + draw(images, -0.3, 0.3) * torch.linspace(-1, 1, canvas.shape[-1], device=images.device)
    grain = 1 + draw(images, 0, 0.2) * smooth_noise(fine_grid(images), 14)
    return full_range(random_apply(0.8, crop_to_foreground, downsample((canvas * light * grain).clamp(0, 1)) * 255))
