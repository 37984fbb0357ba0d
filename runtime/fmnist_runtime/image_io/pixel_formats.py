"""Conversion of all Pillow modes to 8 bits: ``L``, ``RGB`` or ``RGBA``."""

import numpy as np
from PIL import Image

__all__ = ["shrink_large", "to_8_bits", "upright"]

_LARGE_SIDE = 2048
"""Pixels. An image with a longer side is shrunk by a factor of two or more before any other step, to save memory."""
_FULL_RANGES = (1, 255, 1023, 4095, 16383, 65535)
"""Candidates for the value of white: 1 for floats, or the largest value of 8, 10, 12, 14 or 16 bits.

Cameras may use fewer bits than the file format has."""
_BRIGHTEST = 16.0
"""Largest value of a float image whose white is 1: resizing overshoots, and highlights of a scene are brighter than white."""
_UNDERSHOOT = 0.25
"""Largest distance below 0 of such an image, as resizing leaves it; with more, 0 is not black."""
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Values of the EXIF orientation (EXIF 2.32, 4.6.4) and the operations that bring the image upright."""
_XMP = ("xmp", "XML:com.adobe.xmp")
"""Keys of Pillow's ``info``."""


def shrink_large(image: Image.Image) -> Image.Image:
    """Shrinks an image of any mode whose longer side is over 2,048 pixels, by averaging whole blocks of pixels.

    Other images are returned unchanged.
    """
    factor = max(image.size) // (_LARGE_SIDE // 2)
    if max(image.size) <= _LARGE_SIDE:
        return image
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F"):
        image = to_8_bits(image)
    return image.reduce(factor)


def upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; damaged EXIF data have no effect, and neither has XMP, which browsers ignore, too."""
    # Pillow takes the orientation of XMP if EXIF has none.
    xmp = {key: image.info.pop(key) for key in _XMP if key in image.info}
    try:
        method = _TRANSPOSE.get(image.getexif().get(0x0112, 1))
    except Exception:  # a parser of untrusted bytes may raise anything
        return image
    finally:
        image.info.update(xmp)
    if method is None:
        return image
    rotated = image.transpose(method)
    rotated.info = {
        key: value for key, value in image.info.items() if key == "transparency"
    }  # no EXIF: its orientation is applied
    return rotated


def to_8_bits(image: Image.Image) -> Image.Image:
    """Converts any mode to ``L``, ``RGB`` or ``RGBA``; wide integers and floats are scaled, see ``_FULL_RANGES``."""
    if image.mode.startswith(("I", "F")):
        return _stretch(np.asarray(image.convert("I") if image.mode.startswith("I;") else image))
    if image.mode == "La":  # Pillow converts it to no mode but LA
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode == "LAB":
        return image.getchannel("L")  # Pillow does not convert LAB
    wanted = "L" if image.mode in ("L", "1") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _stretch(values: np.ndarray) -> Image.Image:
    is_float = np.issubdtype(values.dtype, np.floating)
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if is_float and low > -_UNDERSHOOT and 1 < high <= _BRIGHTEST:
        full = 1.0
    elif low < 0 or high > _FULL_RANGES[-1]:
        values, high = values - low, high - low
        full = high or 1.0
    else:
        full = next(full for full in _FULL_RANGES if high <= full)
    return Image.fromarray(np.rint(values * (255 / full)).clip(0, 255).astype(np.uint8))
