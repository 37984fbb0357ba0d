"""Files whose end was lost: an interrupted copy or download leaves zeros there, or what else the disk held.

Many decoders make pixels of it without an error. The end of a JPEG is checked where it is decoded.
"""

import zlib
from collections.abc import Iterator

from fmnist_runtime.image_io.avif import coded_images

__all__ = ["LOST_END", "has_lost_end"]

LOST_END = "a damaged picture: part of its data was lost, as in an interrupted copy; copy or download it again"
"""Error message."""
_MAX_CHUNKS = 100_000
"""Number of chunks examined; a screenshot has some hundreds, an animation some thousands."""
_MOST_ZEROS = 64
"""More bytes of zeros than compressed pixels end with. HEVC has no four zeros in a row, and AV1 ends with a bit that is set."""
_WEBP_ZEROS = {b"VP8 ": 1 / 8, b"VP8L": 0.0, b"ANMF": 1 / 8}
"""Chunks of WebP with pixels, and the share of their bytes that may be zeros at the end: lossy pixels of a plain background are
zeros, up to 6% of a garment on white at all qualities."""


def has_lost_end(data: bytes, kind: str | None) -> bool:
    """Returns whether compressed pixels of a file are known to be lost.

    Args:
        data: The file.
        kind: Its format, as Pillow names it. Formats other than PNG, WebP, HEIF and AVIF are not examined.

    Raises:
        ImageError: A HEIF or AVIF file has far more parts than any photo.
    """
    if kind == "PNG":
        return any(zlib.crc32(data[start - 4 : end]) != _crc(data, end) for start, end in _png_pixels(data))
    if kind == "WEBP":
        return any(_ends_with_zeros(chunk, most) for chunk, most in _webp_pixels(data))
    return kind in ("HEIF", "AVIF") and any(
        _ends_with_zeros(item, _MOST_ZEROS) and b"Exif" not in bytes(item[:16])  # cameras fill that item with zeros
        for item in coded_images(data)
    )


def _crc(data: bytes, end: int) -> int:
    return int.from_bytes(data[end : end + 4])


def _png_pixels(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields start and end of the content of the pixel chunks that are there in full, with their check sums."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        start, end = position + 8, position + 8 + int.from_bytes(data[position : position + 4])
        if end + 4 > len(data):
            return
        if data[position + 4 : start] == b"IDAT":
            yield start, end
        position = end + 4


def _webp_pixels(data: bytes) -> Iterator[tuple[memoryview, int]]:
    """Yields the content of the chunks with pixels, and the number of zeros that may be at its end."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        start = position + 8
        if start > len(data):
            return
        size = int.from_bytes(data[position + 4 : start], "little")
        share = _WEBP_ZEROS.get(data[position : position + 4])
        if share is not None:
            yield memoryview(data)[start : start + size], max(_MOST_ZEROS, round(share * size))
        position = start + size + size % 2


def _ends_with_zeros(content: memoryview, most: int) -> bool:
    return len(content) > most and not bytes(content[-most - 1 :]).strip(b"\0")
