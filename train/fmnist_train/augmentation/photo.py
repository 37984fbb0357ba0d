"""Augmentation that imitates preprocessed photos by formulas, without any photo.

``fmnist_runtime.preprocessing.pipeline`` turns a photo into a light garment on a black background, imperfectly. These
functions make the same imperfections on clean 28×28 images:

- other tones, as of a white shirt on a dark floor or a black one on a white wall;
- fabric patterns, folds and shadows;
- parts that segmentation lost, or kept by mistake;
- head and trousers of a person in a shirt;
- hems cut off by the frame, and shoes in pairs.

All take and return ``float32`` pixels in 0..255, ``[N, 1, H, W]``, and draw from the global generator. Pairs, heads and
trousers depend on Fashion-MNIST's class ids; they are left out for other classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_train.augmentation.drawing import (
    BACKGROUND_LEVEL,
    binomial_blur,
    blur,
    coordinates,
    crop_to_foreground,
    draw,
    full_range,
    random_apply,
    random_choice,
    smooth_noise,
    warp,
)
from fmnist_train.augmentation.shop import draw_backpacks, draw_slippers

__all__ = ["as_photographed"]

_TROUSER, _SANDAL, _BAG = 1, 5, 8
_TOPS = (0, 2, 3, 4, 6)
"""Class ids of T-shirt, pullover, dress, coat and shirt."""
_SHOES = (5, 7, 9)
"""Class ids of sandal, sneaker and ankle boot."""


def as_photographed(images: Tensor, labels: Tensor | None) -> Tensor:
    """Changes every image as photographing and segmenting it would.

    Args:
        images: ``[N, 1, H, W]`` float in 0..255, light garment on a black background.
        labels: ``[N]`` Fashion-MNIST class ids; None for other classes.

    Returns:
        float32 ``[N, 1, H, W]`` in 0..255.
    """
    if labels is None:
        labels = torch.full(images.shape[:1], -1, device=images.device)
    shoes, tops = _among(labels, _SHOES), _among(labels, _TOPS)
    trousers = labels == _TROUSER
    images = random_apply(0.4, footbed, images, only=labels == _SANDAL)
    images = random_apply(0.2, pair, images, only=shoes)
    images = random_apply(0.35, from_above, images, only=shoes)
    images = random_apply(0.2, draw_slippers, images, only=labels == _SANDAL)
    images = random_apply(0.25, draw_backpacks, images, only=labels == _BAG)
    images = random_apply(0.3, pattern, images)
    images = random_apply(0.8, retone, images)
    images = random_apply(0.5, shade, images)
    images = random_apply(0.35, crop_hem, images, only=tops | trousers)
    images = random_apply(0.25, lambda chosen: add_person(chosen, images[trousers]), images, only=tops)
    images = random_apply(0.3, top_remnant, images, only=trousers)
    images = deform(images)
    images = random_apply(0.2, lose_parts, images)
    images = random_apply(0.35, keep_background, images)
    images = random_apply(0.25, blur, random_apply(0.5, crop_to_foreground, images))
    images = random_apply(0.5, sharpen, images)
    return full_range(random_apply(0.25, add_noise, images))


# -- tone and texture ---------------------------------------------------------------------------------------------------


def retone(images: Tensor) -> Tensor:
    """Applies another tone curve inside the garment: gamma, a narrower range, random_apply the negative."""
    inside = _inside(images)
    value = images / 255
    negative = draw(images, 0, 1) < 0.3
    value = torch.where(negative, 1.1 - value, value).clamp(0, 1)
    value = value ** torch.exp(draw(images, -0.8, 0.8))
    low = draw(images, 0.12, 0.7)
    high = low + (1 - low) * draw(images, 0.3, 1.0)
    return (low + (high - low) * value) * 255 * inside


def pattern(images: Tensor) -> Tensor:
    """Adds stripes across, stripes along, checks, or a print on the chest."""
    y, x = coordinates(images)
    frequency = draw(images, 2.0, 7.0) * math.pi
    phase = draw(images, 0, 2 * math.pi)
    tilt = draw(images, -0.15, 0.15)
    across = torch.sign(torch.sin(frequency * (y + tilt * x) + phase) + draw(images, -0.6, 0.6))
    along = torch.sign(torch.sin(frequency * (x + tilt * y) + phase) + draw(images, -0.6, 0.6))
    patch = ((x - draw(images, -0.3, 0.3)) / draw(images, 0.15, 0.5)) ** 2 + ((y + 0.1) / draw(images, 0.15, 0.5)) ** 2
    printed = torch.where(patch < 1, smooth_noise(images, 14) * 2, torch.zeros_like(images))
    kind = draw(images, 0, 4).floor()
    chosen = torch.where(kind == 0, across, torch.where(kind == 1, along, (across + along) / 2))
    chosen = torch.where(kind == 3, printed, chosen)
    return (images + chosen * draw(images, 10, 70)).clamp(25, 255) * _inside(images)


def shade(images: Tensor) -> Tensor:
    """Adds folds and uneven light: a smooth gain over the garment, and a slope."""
    y, x = coordinates(images)
    slope = draw(images, -0.25, 0.25) * x + draw(images, -0.25, 0.25) * y
    gain = 1 + slope + smooth_noise(images, 6) * draw(images, 0, 0.3)
    return (images * gain).clamp(0, 255)


# -- errors of segmentation ---------------------------------------------------------------------------------------


def lose_parts(images: Tensor) -> Tensor:
    """Removes random parts, as segmentation does if garment and background have the same color: holes and notches."""
    return torch.where(smooth_noise(images, 5) > draw(images, 1.0, 2.2), torch.zeros_like(images), images)


def keep_background(images: Tensor) -> Tensor:
    """Adds pieces of background or shadow next to the garment, or the whole background."""
    reach = F.max_pool2d(_inside(images), 7, stride=1, padding=3)
    everything = draw(images, 0, 1) < 0.15
    threshold = draw(images, 0.4, 1.6)
    region = torch.where(everything, torch.ones_like(images), reach * (smooth_noise(images, 6) > threshold))
    level = draw(images, 15, 220) + smooth_noise(images, 9) * draw(images, 0, 30)
    level = torch.where(everything, level * 0.5, level)
    return torch.where((images < BACKGROUND_LEVEL) & (region > 0), level.clamp(0, 255), images)


def crop_hem(images: Tensor) -> Tensor:
    """Removes the lowest rows, or the highest, like the edge of a photo or a waist, and centers the rest."""
    y, _ = coordinates(images)
    cut = draw(images, 0.0, 0.5)
    below = draw(images, 0, 1) < 0.7
    kept = torch.where(below, y < 1 - cut, y > -1 + cut * 0.6)
    shift = torch.where(below, -cut / 2, cut * 0.3)
    return warp(images * kept, shift=(torch.zeros_like(shift), -shift))


# -- the person, and shoes -----------------------------------------------------------------------------------------------


def add_person(images: Tensor, trousers: Tensor) -> Tensor:
    """Adds a person: a head above the garment and, often, some of the given trousers below it."""
    y, x = coordinates(images)
    zoom = draw(images, 0.6, 0.85)
    lift = draw(images, -0.1, 0.25)
    garment = warp(images, zoom=(zoom, zoom), shift=(torch.zeros_like(lift), lift))
    top = -zoom - lift
    head = ((x / draw(images, 0.13, 0.24)) ** 2 + ((y - top + 0.1) / draw(images, 0.2, 0.34)) ** 2) < 1
    hair = y < top - draw(images, 0.1, 0.3)
    face_tone, hair_tone = draw(images, 40, 200), draw(images, 120, 255)
    person = torch.where(head, torch.where(hair, hair_tone, face_tone), torch.zeros_like(images))
    legs = random_choice(trousers, images)
    legs = warp(legs, zoom=(zoom * 1.1, zoom * 1.2), shift=(torch.zeros_like(lift), -zoom * 1.6 + lift))
    person = torch.where((draw(images, 0, 1) < 0.6) & (person == 0), legs, person)
    return torch.where(garment > 20, garment, person)


def top_remnant(images: Tensor) -> Tensor:
    """Adds the lower end of a shirt over the trousers' waist, and hands beside the hips."""
    y, x = coordinates(images)
    edge = draw(images, -0.9, -0.55)
    width = draw(images, 0.3, 0.55)
    shirt = (y < edge + 0.1 * smooth_noise(images, 4)) & (x.abs() < width)
    hands = ((x.abs() - width - 0.05).abs() < 0.08) & ((y - edge - 0.15).abs() < 0.18) & (draw(images, 0, 1) < 0.4)
    tone = draw(images, 40, 255) + smooth_noise(images, 14) * 15
    return torch.where(shirt | hands, tone.clamp(20, 255), images)


def pair(images: Tensor) -> Tensor:
    """Combines a shoe with a copy of itself: side by side, toes up or down, as seen from above; or one behind the other."""
    lying = draw(images, 0, 1) < 0.25
    turn = torch.where(lying, draw(images, -0.3, 0.3), (math.pi / 2) + draw(images, -0.3, 0.3))
    turn = torch.where(draw(images, 0, 1) < 0.5, turn, torch.where(lying, turn, -turn))
    zoom = draw(images, 0.8, 0.98)
    plump = draw(images, 0.75, 1.2)
    apart = torch.where(lying, draw(images, 0.0, 0.3), draw(images, 0.4, 0.56))
    drop = torch.where(lying, draw(images, 0.15, 0.45), draw(images, -0.12, 0.12))
    mirrored = torch.where(draw(images, 0, 1) < 0.8, images.flip(-2), images)
    first = warp(images, turn=turn, zoom=(zoom, zoom * plump), shift=(apart, drop))
    second = warp(
        torch.where(lying, images, mirrored),
        turn=turn + draw(images, -0.15, 0.15),
        zoom=(zoom, zoom * plump),
        shift=(-apart, -drop),
    )
    return torch.where(first > 15, first, second)


def footbed(images: Tensor) -> Tensor:
    """Fills the gaps between a sandal's straps with its sole, which is hidden only in a side view."""
    wide = F.max_pool2d(images, (5, 9), stride=1, padding=(2, 4))
    closed = -F.max_pool2d(-wide, (5, 9), stride=1, padding=(2, 4))
    sole = (draw(images, 30, 200) + smooth_noise(images, 8) * draw(images, 0, 25)).clamp(20, 255)
    return torch.where((images < 25) & (closed > 40), sole, images)


def from_above(images: Tensor) -> Tensor:
    """Changes a side view of a shoe to a view obliquely from above: taller, with the toe rotated down."""
    toe_left = torch.where(draw(images, 0, 1) < 0.5, images, images.flip(-1))
    turn = draw(images, 0.1, 0.75)
    zoom = (draw(images, 0.75, 1.0), draw(images, 1.0, 1.7))
    seen = warp(warp(toe_left, zoom=zoom), turn=-turn, zoom=(draw(images, 0.8, 1.0), draw(images, 0.8, 1.0)))
    return torch.where(draw(images, 0, 1) < 0.5, seen, seen.flip(-1))


# -- geometry and sensor ------------------------------------------------------------------------------------------------


def deform(images: Tensor) -> Tensor:
    """Rotates, stretches along both axes, slants, tapers, bends and shifts; rarely rotates by a quarter of a circle."""
    side = draw(images, 0, 1) < 0.03
    turn = draw(images, -1, 1) ** 3 * 0.6 + torch.where(
        side, math.pi / 2 * torch.sign(draw(images, -1, 1)), torch.zeros(())
    )
    zoom = (torch.exp(draw(images, -0.3, 0.2)), torch.exp(draw(images, -0.3, 0.08)))
    return warp(
        images,
        turn=turn,
        zoom=zoom,
        shift=(draw(images, -0.1, 0.1), draw(images, -0.1, 0.1)),
        slant=draw(images, -0.15, 0.15),
        taper=draw(images, -0.2, 0.25),
        bend=torch.cat([smooth_noise(images, 4), smooth_noise(images, 4)], dim=1) * draw(images, 0, 0.06),
    )


def sharpen(images: Tensor) -> Tensor:
    """Applies the unsharp mask of the device's preprocessing inside the garment, by a random strength."""
    sharp = torch.lerp(images, binomial_blur(images), -draw(images, 0.3, 1.4)).clamp(0, 255)
    return torch.where(images > BACKGROUND_LEVEL, sharp, images)


def add_noise(images: Tensor) -> Tensor:
    """Adds grain inside the garment."""
    return (images + torch.randn_like(images) * draw(images, 2, 20) * _inside(images)).clamp(0, 255)


# -- tools -------------------------------------------------------------------------------------------------------------


def _inside(images: Tensor) -> Tensor:
    """Returns a soft mask of the garment, 0 on the background."""
    return (images / 20).clamp(0, 1)


def _among(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    return torch.isin(labels, torch.tensor(classes, device=labels.device))
