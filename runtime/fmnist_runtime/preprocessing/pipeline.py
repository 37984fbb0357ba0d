"""From any photo to the network's input: a 28×28 image, a light garment on a black background.

Fashion-MNIST was made like this (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747, section 2): trim the background, shrink the
longest edge to 28 pixels, sharpen, extend the shorter edge and center, negate, convert to 8-bit gray. The same steps follow
here, for photos whose background is not white::

    photo ─► working size ─► segmentation ─► remove the person ─► crop ─► map tones ─► 28 pixels, center, sharpen
                             (segmentation.py)   (person.py)

A gray 28×28 image is used as it is: that is the data set's own format.
"""

import numpy as np
from PIL import Image

from fmnist_runtime.preprocessing.array_ops import Array, luma, percentile
from fmnist_runtime.preprocessing.parameters import PARAMETERS
from fmnist_runtime.preprocessing.person import remove_person
from fmnist_runtime.preprocessing.segmentation import segment
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["careful_inputs", "to_network_input"]

_P = PARAMETERS.tone
_PADDED = np.arange(-1, IMAGE_SIZE + 1).clip(0, IMAGE_SIZE - 1)
"""Indices along one axis, with the first and the last repeated once."""


def to_network_input(image: Image.Image) -> Array:
    """Converts an image to the network's input.

    Args:
        image: Any mode and size, upright (EXIF orientation already applied).

    Returns:
        uint8 ``[28, 28]``: 0 is background, 255 the brightest part of the garment. All 0 where there is none.
    """
    if image.mode == "L" and image.size == (IMAGE_SIZE, IMAGE_SIZE) and "transparency" not in image.info:
        return np.array(image)
    rgb, alpha = _working_image(image)
    if rgb.shape[:2] == (IMAGE_SIZE, IMAGE_SIZE) and alpha is None and _is_gray(rgb):
        return rgb[..., 0].copy()
    mask, negate = _garment_mask(rgb, alpha)
    if not mask.any():
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _fit(_map_tones(luma(rgb[box]), mask[box], negate=negate))


def careful_inputs(image: Image.Image) -> Array:
    """Returns several views for ``--careful``: the image and its mirror image, each also a little smaller.

    Returns:
        uint8 ``[4, 28, 28]``.
    """
    view = to_network_input(image)
    smaller = np.zeros_like(view)
    side = IMAGE_SIZE - 4
    smaller[2:-2, 2:-2] = np.asarray(Image.fromarray(view).resize((side, side), Image.Resampling.BILINEAR))
    return np.stack([view, view[:, ::-1], smaller, smaller[:, ::-1]])


def _working_image(image: Image.Image) -> tuple[Array, Array | None]:
    """Returns the image at working size: uint8 ``[H, W, 3]``, and its alpha where anything is transparent."""
    transparent = image.has_transparency_data
    mode = "RGBA" if transparent else "RGB"
    image = image if image.mode == mode else image.convert(mode)  # converting to the same mode would copy
    scale = _P.working_side / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        # Premultiplied, so that transparent pixels carry no color.
        image = _shrink(image.convert("RGBa"), size).convert("RGBA") if transparent else _shrink(image, size)
    pixels = np.asarray(image)
    alpha = pixels[..., 3] if transparent else None
    return pixels[..., :3], None if alpha is None or alpha.min() == 255 else alpha


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shrinks by area: coarsely by integer factors, which is fast, then exactly."""
    width, height = image.size
    factors = (width // (2 * size[0]) or 1, height // (2 * size[1]) or 1)
    if factors != (1, 1):
        image = image.reduce(factors)
    return _resize(image, size, Image.Resampling.BOX, (width / factors[0], height / factors[1]))


def _resize(
    image: Image.Image, size: tuple[int, int], method: Image.Resampling, extent: tuple[float, float]
) -> Image.Image:
    """Resizes along the rows first, then along the columns: rounding depends on the order, which Pillow chooses by shape."""
    image = image.resize((size[0], image.height), method, (0, 0, extent[0], image.height))
    return image.resize(size, method, (0, 0, size[0], extent[1]))


def _is_gray(rgb: Array) -> bool:
    for step in (8, 1):  # most color images are recognized by every eighth pixel, in a hundredth of the time
        red, green, blue = (rgb[::step, ::step, channel] for channel in range(3))
        most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
        if (most - least).max() > _P.gray_tolerance:
            return False
    return True


def _garment_mask(rgb: Array, alpha: Array | None) -> tuple[Array, bool]:
    """Returns the garment's pixels, boolean ``[H, W]``, and whether their tones must be negated."""
    if alpha is not None and _P.opaque_share < (alpha > _P.opaque).mean() < 1:
        return remove_person(rgb, alpha > _P.opaque), True
    if min(rgb.shape[:2]) < _P.min_side:
        return np.zeros(rgb.shape[:2], bool), True
    mask, plain = segment(rgb)
    if not plain or not mask.any():
        return mask, True
    if _is_gray(rgb) and not mask.all() and rgb[~mask].mean() < _P.black:
        return mask, False  # gray on black: the data set's tones
    return remove_person(rgb, mask), True


def _map_tones(tones: Array, mask: Array, *, negate: bool) -> Array:
    """Maps the garment's tones to the range of the data set; the background becomes 0.

    The middle of the range changes little. A narrow range is stretched, but not so far that noise becomes a pattern.

    Args:
        tones: Result of ``luma``, in thousandths.
        mask: Garment, boolean of the same shape.
        negate: Whether dark tones become bright.

    Returns:
        float32 of the same shape, 0..255.
    """
    garment = tones[mask]
    low, high = (percentile(garment, share) / 1000 for share in _P.percentiles)
    if negate:
        low, high = 255 - high, 255 - low
    target_high = max(high, _P.high_min)
    target_low = max(min(low, target_high - _P.range_min), _P.floor)
    gain = min((target_high - target_low) / max(high - low, _P.flat), _P.gain_max)
    slope = (-gain if negate else gain) / 1000
    mapped = tones * np.float64(slope)
    mapped += (target_low + target_high) / 2 - gain * (low + high) / 2 + (255 * gain if negate else 0)
    result: Array = mapped.clip(_P.floor_share * _P.floor, 255, out=mapped).astype(np.float32)
    result *= mask
    return result


def _fit(tones: Array) -> Array:
    """Resizes the longest side to 28, centers on black, sharpens, stretches the brightest tone to 255."""
    height, width = tones.shape
    scale = IMAGE_SIZE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(_resize(Image.fromarray(tones), size, Image.Resampling.BICUBIC, (width, height)))
    fitted = np.zeros((IMAGE_SIZE, IMAGE_SIZE))
    top, left = (IMAGE_SIZE - size[1]) // 2, (IMAGE_SIZE - size[0]) // 2
    np.maximum(small, 0, out=fitted[top : top + size[1], left : left + size[0]])
    sharp = _sharpen(fitted)
    brightest = sharp.max()
    return np.rint(sharp * (255 / brightest)).astype(np.uint8) if brightest > 0 else sharp.astype(np.uint8)


def _sharpen(picture: Array) -> Array:
    """Applies an unsharp mask with a Gaussian of radius and deviation 1; the background stays black."""
    padded = picture[_PADDED[:, None], _PADDED]
    center, side = _P.gaussian
    across = side * (padded[:, :-2] + padded[:, 2:]) + center * padded[:, 1:-1]
    around = side * (across[:-2] + across[2:]) + center * across[1:-1]
    sharp: Array = np.where(picture > 0, picture + _P.sharpness * (picture - around), 0)
    return np.maximum(sharp, 0, out=sharp)
