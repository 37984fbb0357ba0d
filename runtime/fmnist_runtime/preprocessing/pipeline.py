"""From any photo to what the network has learnt: a 28×28 picture, a light garment on black ground.

Fashion-MNIST was made like this (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747, section 2): trim the ground, shrink the
longest edge to 28 pixels, sharpen, extend the shorter edge and centre, negate, make it 8-bit grey. The same steps here, for photos
whose ground is not white: find the garment (``garment.py``), take away its wearer (``wearer.py``), crop, map the tones,
shrink, centre, sharpen. A grey 28×28 picture is taken as it is: that is the data set's own format.
"""

import numpy as np
from PIL import Image

from fmnist_runtime.preprocessing.array_ops import luma, percentile
from fmnist_runtime.preprocessing.person import without_wearer
from fmnist_runtime.preprocessing.segmentation import segment
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["careful_inputs", "to_network_input"]

_WORKING_SIDE = 128
"""Photos are shrunk to this longest side first: enough to find a garment, small enough for milliseconds."""
_SMALLEST = 8
"""In fewer pixels either way nothing can be found."""
_GAUSSIAN = (0.45186276187760605, 0.274068619061197)
"""Weights of the centre and of each neighbour, along one axis."""
_BORDERED = np.arange(-1, IMAGE_SIZE + 1).clip(0, IMAGE_SIZE - 1)
"""Places along one axis, with the first and the last once more."""
_SHARPNESS = 0.7
"""How much of the difference from the surroundings is added."""
_FLOOR = 48
"""The darkest tone of a garment, so that a white one does not vanish into the black ground."""


def to_network_input(image: Image.Image) -> np.ndarray:
    """Turn a picture into the network's input.

    Args:
        image: any mode and size, upright (EXIF orientation already applied).

    Returns:
        uint8 ``[28, 28]``: 0 is ground, 255 the brightest part of the garment. All 0 where there is none.
    """
    if image.mode == "L" and image.size == (IMAGE_SIZE, IMAGE_SIZE) and "transparency" not in image.info:
        return np.array(image)
    rgb, alpha = _channels(image)
    if rgb.shape[:2] == (IMAGE_SIZE, IMAGE_SIZE) and alpha is None and _is_grey(rgb):
        return rgb[..., 0].copy()
    mask, negate = _garment(rgb, alpha)
    if not mask.any():
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _fit(_map_tones(luma(rgb)[box], mask[box], negate=negate))


def careful_inputs(image: Image.Image) -> np.ndarray:
    """Several views for ``--careful``: the picture and its mirror image, each also a little smaller.

    Returns:
        uint8 ``[4, 28, 28]``.
    """
    view = to_network_input(image)
    smaller = np.zeros_like(view)
    side = IMAGE_SIZE - 4
    smaller[2:-2, 2:-2] = np.asarray(Image.fromarray(view).resize((side, side), Image.Resampling.BILINEAR))
    return np.stack([view, view[:, ::-1], smaller, smaller[:, ::-1]])


def _channels(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture at working size: uint8 ``[H, W, 3]``, and its alpha where anything is transparent."""
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    mode = "RGBA" if transparent else "RGB"
    image = image if image.mode == mode else image.convert(mode)  # to convert to the same mode would be to copy
    scale = _WORKING_SIDE / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        # Colours count as much as they are opaque.
        image = _shrink(image.convert("RGBa"), size).convert("RGBA") if transparent else _shrink(image, size)
    pixels = np.asarray(image)
    alpha = pixels[..., 3] if transparent else None
    return pixels[..., :3], None if alpha is None or alpha.min() == 255 else alpha


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shrink by area: coarsely by whole numbers, which is fast, then exactly."""
    width, height = image.size
    factors = (width // (2 * size[0]) or 1, height // (2 * size[1]) or 1)
    if factors != (1, 1):
        image = image.reduce(factors)
    return _resize(image, size, Image.Resampling.BOX, (width / factors[0], height / factors[1]))


def _resize(
    image: Image.Image, size: tuple[int, int], method: Image.Resampling, extent: tuple[float, float]
) -> Image.Image:
    """Rows first, then columns; left to itself, Pillow chooses the order by the shape, and rounding depends on it."""
    image = image.resize((size[0], image.height), method, (0, 0, extent[0], image.height))
    return image.resize(size, method, (0, 0, size[0], extent[1]))


def _is_grey(rgb: np.ndarray) -> bool:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return bool((most - least).max() <= 2)


def _garment(rgb: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """Which pixels are garment, and whether their tones must be negated."""
    if alpha is not None and 0.02 < (alpha > 127).mean() < 1:
        return without_wearer(rgb, alpha > 127), True
    if min(rgb.shape[:2]) < _SMALLEST:
        return np.zeros(rgb.shape[:2], bool), True
    mask, plain = segment(rgb)
    if not plain or not mask.any():
        return mask, True
    if _is_grey(rgb) and not mask.all() and rgb[~mask].mean() < 12:
        return mask, False  # grey on black: already as in the data set, only larger
    return without_wearer(rgb, mask), True


def _map_tones(tones: np.ndarray, mask: np.ndarray, *, negate: bool) -> np.ndarray:
    """Bring the garment's tones into the range that the network knows; the ground becomes 0.

    The middle of the range stays about where it is, between floor and 255; a flat one is stretched, but not so far that
    noise becomes a pattern.

    Args:
        tones: ``luma``, in thousandths.
        mask: boolean, of the same shape: the garment.
        negate: whether dark becomes bright.

    Returns:
        float32 of the same shape, 0..255.
    """
    goods = tones[mask]
    low, high = (percentile(goods, share) / 1000 for share in (3, 97))
    if negate:
        low, high = 255 - high, 255 - low
    target_high = max(high, 150.0)
    target_low = max(min(low, target_high - 60), _FLOOR)
    gain = min((target_high - target_low) / max(high - low, 12.0), 2.5)
    slope = (-gain if negate else gain) / 1000
    mapped = tones * np.float64(slope)
    mapped += (target_low + target_high) / 2 - gain * (low + high) / 2 + (255 * gain if negate else 0)
    return np.multiply(np.clip(mapped, 0.6 * _FLOOR, 255, out=mapped), mask, dtype=np.float32, casting="unsafe")


def _fit(tones: np.ndarray) -> np.ndarray:
    """Shrink (or enlarge) the longest side to 28, centre on black, sharpen, stretch the brightest tone to 255."""
    height, width = tones.shape
    scale = IMAGE_SIZE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(_resize(Image.fromarray(tones), size, Image.Resampling.BICUBIC, (width, height)))
    fitted = np.zeros((IMAGE_SIZE, IMAGE_SIZE))
    top, left = (IMAGE_SIZE - size[1]) // 2, (IMAGE_SIZE - size[0]) // 2
    fitted[top : top + size[1], left : left + size[0]] = small.clip(0)
    sharp = _sharpen(fitted)
    brightest = sharp.max()
    return np.rint(sharp * (255 / brightest)).astype(np.uint8) if brightest > 0 else sharp.astype(np.uint8)


def _sharpen(picture: np.ndarray) -> np.ndarray:
    """Unsharp mask with a Gaussian of radius and deviation 1, as in the data set; the ground stays black.

    Collars, buttons and zips are lines of a pixel: shrinking alone would leave too little of them to tell a shirt by.
    """
    padded = picture[_BORDERED[:, None], _BORDERED]
    across = _GAUSSIAN[1] * (padded[:, :-2] + padded[:, 2:]) + _GAUSSIAN[0] * padded[:, 1:-1]
    around = _GAUSSIAN[1] * (across[:-2] + across[2:]) + _GAUSSIAN[0] * across[1:-1]
    return np.where(picture > 0, picture + _SHARPNESS * (picture - around), 0).clip(0)
