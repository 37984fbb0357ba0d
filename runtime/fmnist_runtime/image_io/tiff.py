"""TIFF files: one kind that Pillow decodes to wrong pixels, the messages of libtiff, and the error message."""

from functools import cache

from PIL import Image, _imaging

from fmnist_runtime.errors import ImageError

__all__ = ["UNREADABLE_TIFF", "prepare_tiff"]

UNREADABLE_TIFF = "a damaged or truncated TIFF, or one of a kind that Pillow does not read; export it as PNG or JPEG"
"""Error message: Pillow's own errors do not distinguish the two. It lacks floats in color, 64 bits, and raw sensor data."""
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _SEPARATE_PLANES = 258, 284, 2
"""Tags and a value of TIFF 6.0, sections 3 and 10."""


def prepare_tiff(image: Image.Image) -> None:
    """Prepares the decoding of an opened TIFF file.

    Raises:
        ImageError: Pillow would decode the file to wrong pixels.
    """
    tags = getattr(image, "tag_v2", {})
    planes = len(image.getbands()) > 1 and tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES
    # Pillow takes the bytes of 16-bit samples for samples of 8 bits, unless libtiff decodes the file.
    if planes and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8 and any(tile[0] == "raw" for tile in image.tile):  # type: ignore[attr-defined]
        raise ImageError(
            "a TIFF with 16 bits and a separate plane for each color, which Pillow decodes to wrong pixels; "
            "save it with 8 bits, or as PNG"
        )
    _silence_libtiff()


@cache
def _silence_libtiff() -> None:
    """Turns off libtiff's own lines on standard error, which would stand between those of a log.

    The library is found through Pillow's module, which is linked to it. Where it is linked statically, as on Windows, the
    function is not visible, and nothing changes.
    """
    import ctypes  # not at start-up

    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    set_handler(None)
