"""Tools for batched drawing and augmentation: random numbers, coordinates, smooth fields, warps.

Images are ``float32`` ``[N, 1, H, W]`` in 0..255. All random numbers come from the global generator of their device.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "BACKGROUND_LEVEL",
    "binomial_blur",
    "blur",
    "coordinates",
    "crop_to_foreground",
    "downsample",
    "draw",
    "fine_grid",
    "full_range",
    "random_apply",
    "random_choice",
    "rotated_coordinates",
    "smooth_noise",
    "warp",
]

BACKGROUND_LEVEL = 12
"""Largest 8-bit level of a background pixel: the data set's background is 0, and resizing blurs its border."""
_FINER = 2
"""Factor by which objects are drawn larger; averaging them afterwards smooths their edges."""


def draw(images: Tensor, low: float, high: float) -> Tensor:
    """Returns one uniform random number for each image, ``[N, 1, 1, 1]``."""
    return torch.rand(images.shape[0], 1, 1, 1, device=images.device) * (high - low) + low


def coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns row and column coordinates from -1 to 1, ``[1, 1, H, 1]`` and ``[1, 1, 1, W]``."""
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height, device=images.device).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, width, device=images.device).view(1, 1, 1, -1)
    return y, x


def fine_grid(images: Tensor) -> Tensor:
    """Returns an empty batch on the finer grid on which objects are drawn."""
    return images.new_empty(len(images), 1, *(_FINER * side for side in images.shape[-2:]))


def downsample(drawings: Tensor) -> Tensor:
    """Averages drawings from the finer grid to the grid of the images."""
    return F.avg_pool2d(drawings, _FINER)


def rotated_coordinates(images: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Returns row and column coordinates on the finer grid, rotated by ``angle`` (radians): ``[N, 1, 2H, 2W]`` each."""
    y, x = coordinates(fine_grid(images))
    return torch.cos(angle) * y - torch.sin(angle) * x, torch.cos(angle) * x + torch.sin(angle) * y


def smooth_noise(images: Tensor, cells: int) -> Tensor:
    """Returns random noise of about unit variance, interpolated from ``cells`` × ``cells`` values: ``[N, 1, H, W]``."""
    coarse = torch.randn(images.shape[0], 1, cells, cells, device=images.device) * 1.4
    return F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)


def random_choice(pool: Tensor, images: Tensor) -> Tensor:
    """Returns a random image of ``pool`` for each of ``images``; black images if the pool is empty."""
    if not len(pool):
        return torch.zeros_like(images)
    return pool[torch.randint(len(pool), (images.shape[0],), device=images.device)]


def random_apply(
    probability: float, change: Callable[[Tensor], Tensor], images: Tensor, only: Tensor | None = None
) -> Tensor:
    """Changes each image with the given probability.

    Args:
        probability: Probability of a change, 0..1.
        change: Function from images ``[M, 1, H, W]`` to changed ones.
        images: ``[N, 1, H, W]``.
        only: Images that may be changed, bool ``[N]``; None: all.
    """
    chosen = torch.rand(images.shape[0], device=images.device) < probability
    indices = (chosen if only is None else chosen & only).nonzero().squeeze(1)
    return images.index_copy(0, indices, change(images[indices])) if len(indices) else images


def warp(
    images: Tensor,
    *,
    turn: Tensor | None = None,
    zoom: tuple[Tensor, Tensor] | None = None,
    shift: tuple[Tensor, Tensor] | None = None,
    slant: Tensor | None = None,
    taper: Tensor | None = None,
    bend: Tensor | None = None,
) -> Tensor:
    """Applies an affine map about the center, a taper and a bend.

    Args:
        images: ``[N, 1, H, W]``.
        turn: Angle of the rotation, radians.
        zoom: Factors along x and y.
        shift: Distances to the right and up, in half sides.
        slant: Shift of the top edge along x, in half sides.
        taper: Share by which the bottom is wider than the middle, as in a photo taken from below.
        bend: Shift of each pixel along x and y, in half sides, ``[N, 2, H, W]``.

    Returns:
        ``[N, 1, H, W]``; new pixels are 0.
    """
    nothing = torch.zeros(images.shape[0], device=images.device)
    turn, slant = (nothing if v is None else v.flatten() for v in (turn, slant))
    zoom_x, zoom_y = (nothing + 1, nothing + 1) if zoom is None else (v.flatten() for v in zoom)
    shift_x, shift_y = (nothing, nothing) if shift is None else (v.flatten() for v in shift)
    cos, sin = torch.cos(turn), torch.sin(turn)
    # Output to input: undo the shift, then the turn, then the slant and the zoom.
    a, b = (cos + slant * -sin) / zoom_x, (sin + slant * cos) / zoom_x
    c, d = -sin / zoom_y, cos / zoom_y
    matrix = torch.stack([a, b, -a * shift_x + b * shift_y, c, d, -c * shift_x + d * shift_y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    if taper is not None:
        y, _ = coordinates(images)
        grid = grid * torch.cat([1 / (1 + taper * y), torch.ones_like(taper * y)], dim=1).permute(0, 2, 3, 1)
    if bend is not None:
        grid = grid - bend.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def crop_to_foreground(images: Tensor) -> Tensor:
    """Crops to the foreground, and enlarges its longest side to the frame, as on the device."""
    inside = (images > BACKGROUND_LEVEL).squeeze(1)
    (x, width), (y, height) = _span(inside.any(1)), _span(inside.any(2))
    zoom = 1 / torch.maximum(width, height)
    return warp(images, zoom=(zoom, zoom), shift=(-x * zoom, y * zoom))


def full_range(images: Tensor) -> Tensor:
    """Scales the brightest pixel to 255, as in the data set and on the device; nearly black images stay dark."""
    return images * (255 / images.amax(dim=(1, 2, 3), keepdim=True).clamp(min=40))


def _span(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the center (-1 to 1) and the length (a share) of the true values' span in each row of ``[N, S]``."""
    side = seen.shape[1]
    first, behind = seen.byte().argmax(1), side - seen.flip(1).byte().argmax(1)
    return (first + behind) / side - 1, (behind - first) / side


def binomial_blur(images: Tensor) -> Tensor:
    """Returns the mean over 3×3 pixels around each pixel, with binomial weights."""
    kernel = torch.tensor([1.0, 2.0, 1.0], device=images.device)
    return F.conv2d(images, (kernel[:, None] * kernel / 16).view(1, 1, 3, 3), padding=1)


def blur(images: Tensor) -> Tensor:
    """Blurs each image by a random strength."""
    return torch.lerp(images, binomial_blur(images), draw(images, 0.3, 1.0))
