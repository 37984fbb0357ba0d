"""Any of Pillow's modes to 8 bits: ``L``, ``RGB`` or ``RGBA``."""

import numpy as np
from PIL import Image

__all__ = ["shrink_large", "to_8_bits", "upright"]

_LARGE_SIDE = 2048
"""Pictures with a longer side are halved (or more) before anything else is done to them: copies cost memory."""
_FULL_RANGES = (1, 255, 1023, 4095, 16383, 65535)
"""What white may be in a picture of floats or of 8, 10, 12, 14 or 16 bits: cameras keep fewer bits than the file has."""
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shrink_large(image: Image.Image) -> Image.Image:
    """Average a decoded picture of any mode over whole blocks of pixels, where its longer side is over 2048."""
    factor = max(image.size) // (_LARGE_SIDE // 2)
    if max(image.size) <= _LARGE_SIDE:
        return image
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F"):
        image = to_8_bits(image)
    return image.reduce(factor)


def upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says, as ``ImageOps.exif_transpose``; damaged EXIF data turn nothing."""
    try:
        method = _TRANSPOSE.get(image.getexif().get(0x0112, 1))
    except Exception:  # a parser of bytes that somebody else wrote may raise anything
        return image
    if method is None:
        return image
    turned = image.transpose(method)
    turned.info = {key: value for key, value in image.info.items() if key == "transparency"}  # no EXIF: it is done
    return turned


def to_8_bits(image: Image.Image) -> Image.Image:
    """Bring any mode to ``L``, ``RGB`` or ``RGBA``; wide integers and floats are scaled, see ``_FULL_RANGES``."""
    if image.mode.startswith(("I", "F")):
        return _stretch(np.asarray(image.convert("I") if image.mode.startswith("I;") else image))
    if image.mode == "La":  # which Pillow converts to nothing else
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode == "LAB":
        return image.getchannel("L")  # Pillow itself converts no LAB
    wanted = "L" if image.mode in ("L", "1") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _stretch(values: np.ndarray) -> Image.Image:
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > _FULL_RANGES[-1]:
        values, high = values - low, high - low
        full = high or 1.0
    else:
        full = next(full for full in _FULL_RANGES if high <= full)
    return Image.fromarray(np.rint(values * (255 / full)).clip(0, 255).astype(np.uint8))
