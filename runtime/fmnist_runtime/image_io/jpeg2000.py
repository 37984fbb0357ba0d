"""Memory that OpenJPEG takes for the structure of a JPEG 2000 file: its tiles, code blocks and precincts.

Ordinary files have blocks of 32 or 64 pixels a side, whose structure is small beside the pixels. A few kilobytes can state
blocks of 4×4, precincts of 1×1 or tiles of 1×1 for a large image, and their structure then takes gigabytes.
"""

import math
import struct
from collections.abc import Iterator

from fmnist_runtime.errors import ImageError

__all__ = ["structure_bytes"]

_START = b"\xff\x4f\xff\x51"
"""First bytes of a codestream: the markers SOC and SIZ (ISO 15444-1, annex A)."""
_BOX = b"jp2c"
"""Type of the box that holds the codestream in a JP2 file (annex I)."""
_SIZE, _CODING, _COMPONENT_CODING, _TILE, _TILE_DATA, _END = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_KNOWN = frozenset(
    0xFF00 + low
    for low in (0x51, 0x52, 0x53, 0x55, 0x57, 0x58, *range(0x5C, 0x62), 0x63, 0x64, 0x74, 0x75, 0x77, 0x78, 0x90)
)
"""Markers with a segment that every OpenJPEG knows. Behind another one, it searches for the next that it knows."""
_UNKNOWN = "a damaged JPEG 2000 image, or one with unknown parts: refused"
_TILE_BYTES = 12_000
_BLOCK_BYTES = 400
_PRECINCT_BYTES = 600
"""Bytes of a tile, of a code block, and of a precinct in one subband; measured with OpenJPEG 2.5."""
_MOST_PARTS = 100_000
"""Largest number of parts of tiles: as many as a file may have tiles, and more."""


def structure_bytes(data: bytes) -> int:
    """Returns the memory for the structure of a JP2 file or codestream, in bytes.

    Raises:
        ImageError: There is no codestream; or it has unknown markers, or more than ``_MOST_PARTS`` parts of tiles.
        struct.error, ValueError: A header is cut.
    """
    start = _find_codestream(data)
    if not data.startswith(_START, start):
        raise ImageError(_UNKNOWN)
    codings: list[tuple[int, bytes]] = []
    size = b""
    for marker, content in _segments(data, start + 2):
        if marker == _SIZE:
            size = content
        elif marker == _CODING:  # style, progression, layers, transform of colors
            codings.append((int.from_bytes(content[2:4]), content[:1] + content[5:]))
        elif marker == _COMPONENT_CODING:  # number of the component in one or two bytes
            codings.append((1, content[1 + (size[34:36] > b"\1\0") :]))
    fields: tuple[int, ...] = struct.unpack_from(">8LH", size, 2)
    right, bottom, left, top, width, height, tile_left, tile_top, components = fields
    sides = (right - tile_left, width), (bottom - tile_top, height)
    tiles = math.prod(-(-max(side, 0) // max(tile_side, 1)) for side, tile_side in sides)
    tile = min(width, max(right - left, 0)), min(height, max(bottom - top, 0))
    layers = max((layers for layers, _ in codings), default=1)
    largest = max((_tile_bytes(coding, tile, layers) for _, coding in codings), default=0)
    return tiles * _TILE_BYTES + components * largest


def _find_codestream(data: bytes) -> int:
    """Returns the position of the codestream, which is in a box of a JP2 file; the file's end if it has none."""
    if data.startswith(_START):
        return 0
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        header = 16 if length == 1 else 8
        if kind == _BOX:
            return position + header
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
        position += max(length, header) if length else len(data)
    return len(data)


def _tile_bytes(coding: bytes, size: tuple[int, int], layers: int) -> int:
    """Returns the memory for code blocks and precincts of one component of a tile.

    Args:
        coding: Coding style, then number of levels, exponents of the code blocks, style, transform, and precincts.
        size: Width and height of the tile in pixels.
        layers: Number of quality layers.
    """
    style, levels, *block = coding[:4]  # ValueError where the header is cut
    total = most = 0
    for level in range(levels + 1):  # from the smallest resolution to the full one
        precinct = coding[6 + level] if style & 1 and len(coding) > 6 + level else 0xFF
        bands, shift = (3, 1) if level else (1, 0)
        blocks = precincts = bands
        for side, exponent, precinct_exponent in zip(size, block, (precinct & 15, precinct >> 4), strict=True):
            pixels = -(-side >> (levels - level))
            inner = max(precinct_exponent - shift, 0)
            blocks *= 1 + (pixels >> shift + min(inner, (exponent & 15) + 2))
            precincts *= 1 + (pixels >> precinct_exponent)
        total += blocks * _BLOCK_BYTES + precincts * _PRECINCT_BYTES
        most = max(most, precincts // bands)
    return total + 2 * layers * (levels + 1) * most  # 2 bytes for each packet, to see whether it was read


def _segments(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """Yields markers and contents of the main header and of the headers of all parts of tiles."""
    part, parts = 0, 0
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _TILE_DATA:
            if part <= 0:  # the last part, without a length
                return
            position, part = part, 0
            continue
        if marker == _END:
            return
        if marker not in _KNOWN:
            raise ImageError(_UNKNOWN)
        content = data[position + 4 : position + 2 + length]
        if marker == _TILE:
            parts += 1
            if parts > _MOST_PARTS:
                raise ImageError(
                    f"a JPEG 2000 image of more than {_MOST_PARTS:,} parts: refused as a decompression bomb"
                )
            (part_length,) = struct.unpack_from(">L", content, 2)
            part = position + part_length if part_length else -1
        yield marker, content
        position += 2 + max(length, 2)
