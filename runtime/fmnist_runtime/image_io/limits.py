"""What a picture from a stranger may cost: checks before decoding, so that no file takes minutes or gigabytes.

The size of a file says little: a few kilobytes can hold a picture of gigapixels (a decompression bomb), millions of chunks
that Pillow's Python walks one by one, or a progressive JPEG that paints the same pixels over thousands of times.
"""

import io
import re
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fmnist_runtime.errors import ImageError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Metered", "refuse_many_pieces", "refuse_too_much"]

MAX_BYTES = 1 << 28
"""Larger files are refused."""
MAX_PIXELS = 100_000_000
"""Pictures that would have more once decoded are refused as decompression bombs."""
MAX_JPEG_PIXELS = 300_000_000
"""A baseline JPEG is decoded at a reduced scale, row by row, so telephones' 200 megapixels are welcome."""
MAX_SLOW_PIXELS = {"python": 4_000_000, "jpeg2k": 40_000_000}
"""What decoders that take about 1 µs (those written in Python) and 0.1 µs for a pixel are given."""
MAX_SCANS = 100
"""A progressive JPEG has about ten scans over the picture; a hostile one has thousands."""
MAX_PIECES = 100_000
"""Strips or tiles of a TIFF: each costs Pillow some microseconds, whatever its size."""
MAX_READS = 10_000_000
"""Pillow's Python reads an ordinary file's headers in tens of steps, and a hostile one's in millions."""
_REFUSED = {
    "EPS": "EPS is a program in PostScript, and strangers' programs are not run; convert it to PNG",
    "IPTC": "IPTC wraps a file of any other format; unpack it first",
}
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


class Metered(io.BytesIO):
    """A file in memory that may be read ``MAX_READS`` times."""

    _left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As ``BytesIO.read``.

        Raises:
            ImageError: once too often.
        """
        self._count()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """As ``BytesIO.readline``, counted like ``read``."""
        self._count()
        return super().readline(size)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ImageError("the file is made of too many small parts: refused")


def refuse_too_much(image: Image.Image, max_pixels: int | None = None) -> None:
    """Refuse a picture that has been opened, and not yet decoded, because of its size or its format.

    Args:
        image: as Pillow opened it.
        max_pixels: a limit of the caller's own; None: only those of this module.

    Raises:
        ImageError: as said.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError("the picture has no pixels")
    if image.format in _REFUSED:
        raise ImageError(_REFUSED[image.format])
    by_rows = image.format == "JPEG" and not image.info.get("progressive")
    limit = min(MAX_JPEG_PIXELS if by_rows else MAX_PIXELS, max_pixels or MAX_JPEG_PIXELS)
    for tile in getattr(image, "tile", ()):
        limit = min(limit, MAX_SLOW_PIXELS.get("python" if tile[0] in Image.DECODERS else tile[0], limit))
    if width * height > limit:
        raise ImageError(f"{width}×{height} pixels is over the limit of {limit:,}: refused as a decompression bomb")


def refuse_many_pieces(data: bytes) -> None:
    """Refuse a JPEG or TIFF file in far more parts than any camera or program writes.

    Raises:
        ImageError: as said.
        struct.error: a TIFF file that ends in its header.
    """
    # Few files have so many bytes that could begin a scan, and to count those takes a third of the time.
    many = data.startswith(b"\xff\xd8") and _count_pairs(data, b"\xff\xda") > MAX_SCANS
    if many and sum(kind == 0xDA for kind in _jpeg_markers(data)) > MAX_SCANS:
        raise ImageError(f"a JPEG of more than {MAX_SCANS} scans: refused as a decompression bomb")
    if data.startswith((b"II", b"MM")) and _tiff_pieces(data) > MAX_PIECES:
        raise ImageError(f"a TIFF of more than {MAX_PIECES:,} strips or tiles: refused as a decompression bomb")


def _count_pairs(data: bytes, pair: bytes) -> int:
    """How often two bytes, which differ, stand side by side."""
    pairs = (
        np.frombuffer(data, np.uint16, (len(data) - start) // 2, start) for start in (0, 1) if len(data) > start + 1
    )
    return sum(int(np.count_nonzero(each == np.frombuffer(pair, np.uint16)[0])) for each in pairs)


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """The markers of the first picture in a JPEG file (ISO 10918-1, B.1.1), stepping over what the segments hold."""
    position = 2
    while found := _MARKER.search(data, position):
        kind = found[1][0]
        if kind == 0xD9:  # end of the picture: telephones append films and maps behind it
            return
        yield kind
        length = int.from_bytes(data[found.end() : found.end() + 2])
        position = found.end() + (length if kind not in (0x01, 0xD8) else 0)


def _tiff_pieces(data: bytes) -> int:
    """How many strips or tiles the first directory of a TIFF or BigTIFF file announces."""
    order, large = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start, count, entry = ("Q", "Q", "HHQQ") if large else ("L", "H", "HHLL")
    (position,) = struct.unpack_from(order + start, data, 8 if large else 4)
    (entries,) = struct.unpack_from(order + count, data, position)
    position += struct.calcsize(order + count)
    pieces = 0
    for number in range(min(entries, 1 << 16)):
        tag, _, values, _ = struct.unpack_from(order + entry, data, position + number * struct.calcsize(order + entry))
        if tag in (273, 324):  # StripOffsets, TileOffsets
            pieces = max(pieces, values)
    return pieces
