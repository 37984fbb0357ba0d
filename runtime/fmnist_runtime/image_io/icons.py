"""Icons, which contain pictures of other formats: ICO (PNG or BMP) and ICNS (PNG or JPEG 2000).

Pillow decodes a picture in an icon whatever its own header states, and that in an ICO file when it opens the file.
"""

from collections.abc import Iterator
from typing import Any

from PIL import Image, UnidentifiedImageError

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.limits import MAX_ICON_PIXELS, Metered, refuse_too_much

__all__ = ["refuse_large_icon"]

_ICO, _ICNS = b"\0\0\1\0", b"icns"
"""First bytes."""
_FORMATS = ("PNG", "DIB", "JPEG2000")
"""Formats of the pictures: DIB is BMP without its file header."""
_HEADER_BYTES = 1 << 22
"""Longest header of a picture in bytes; color profiles and descriptions are part of it."""


def refuse_large_icon(data: bytes, max_pixels: int | None = None) -> None:
    """Checks the size of the pictures in an icon file that Pillow would decode; other files are not read.

    Raises:
        ImageError: A picture has too many pixels, or its header is damaged.
    """
    for start in _starts(data):
        picture = data[start : start + _HEADER_BYTES]
        try:
            image = Image.open(Metered(picture), formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise ImageError("a damaged or truncated icon") from error
        refuse_too_much(image, max_pixels, data=picture, most=MAX_ICON_PIXELS)


def _starts(data: bytes) -> Iterator[int]:
    """Yields the positions of the pictures that Pillow decodes; of the kinds that have a header."""
    if data.startswith(_ICO):
        from PIL.IcoImagePlugin import IcoFile  # not at start-up, as below

        entry: Any = IcoFile(Metered(data)).entry[0]
        yield entry["offset"] if isinstance(entry, dict) else entry.offset  # a dictionary in early versions of Pillow
    elif data.startswith(_ICNS):
        from PIL.IcnsImagePlugin import IcnsFile

        icon = IcnsFile(Metered(data))
        for code, _ in icon.SIZES[icon.bestsize()]:
            if code in icon.dct and code.startswith(b"ic"):  # the others are pixels of fixed size
                yield icon.dct[code][0]
