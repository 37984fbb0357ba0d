"""TIFF files: strips and tiles, raw files of cameras, one kind that Pillow decodes to wrong pixels, and the messages of libtiff."""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Literal

from PIL import Image, _imaging

from fmnist_runtime.errors import ImageError

__all__ = [
    "THUMBNAIL_FIRST",
    "UNREADABLE_TIFF",
    "count_pieces",
    "is_raw",
    "is_tiff",
    "piece_size",
    "prepare_tiff",
    "refuse_wrapped",
    "sample_bytes",
    "starts_with_thumbnail",
]

THUMBNAIL_FIRST = "a TIFF whose first image is a thumbnail; export it as JPEG or PNG"

UNREADABLE_TIFF = "a damaged or truncated TIFF, or one of a kind that Pillow does not read; export it as PNG or JPEG"
"""Error message: Pillow's own errors do not distinguish the two. It lacks floats in color, and 64 bits."""
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _PLANAR_CONFIGURATION, _SEPARATE_PLANES = 258, 277, 284, 2
_WHITE_IS_ZERO, _SAMPLE_FORMAT, _UNSIGNED, _SIGNED = 0, 339, 1, 2
_STRIP_OFFSETS, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 273, 278, 322, 323, 324
"""Tags and values of TIFF 6.0, sections 3, 10, 15 and 19."""
_SUBFILE_TYPE, _WIDTH, _COMPRESSION, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 256, 259, 262, 330, 50706
_REDUCED = 1
"""Bit of the subfile type of an image that is a reduced version of another one in the file."""
_SENSOR_DATA = (32803, 34892)
"""Photometric interpretations of a sensor's pixels (ISO 12234-2, TIFF/EP) and of linear colors (DNG 1.4)."""
_RAW_COMPRESSIONS = (262, 32767, 32769, 32770, 32772, 34713, 65000, 65535)
"""Compressions of Kodak, Sony, Epson, Samsung (two), Nikon, Kodak and Pentax (ExifTool's table of the tag)."""
_MOST_SUB_DIRECTORIES = 8
"""Subdirectories that are read: cameras write up to five."""
_RAW_STARTS = re.compile(rb"II\*\0\x10\0\0\0CR\x02|II\*\0.{4}IIII.waR|MM\0\*.{4}MMMMRaw", re.DOTALL)
"""First bytes of the raw files of Canon (CR2) and Phase One (IIQ), whose first directory is that of an ordinary photo."""
_INTEGER_BYTES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
"""Size in bytes of each type of integers (TIFF 6.0, section 2, and BigTIFF)."""


def prepare_tiff(image: Image.Image) -> None:
    """Prepares the decoding of an opened TIFF file.

    Raises:
        ImageError: Pillow would decode the file to wrong pixels.
    """
    tags = getattr(image, "tag_v2", {})
    bits, kinds = max(tags.get(_BITS_PER_SAMPLE, (1,))), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    planes = len(image.getbands()) > 1 and tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES
    # Pillow takes the bytes of 16-bit samples for samples of 8 bits, unless libtiff decodes the file.
    if planes and bits > 8 and any(tile[0] == "raw" for tile in image.tile):  # type: ignore[attr-defined]
        raise _wrong_pixels("16 bits and a separate plane for each color")
    if bits > 8 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
        raise _wrong_pixels("over 8 bits in which white is 0")
    if bits == 8 and _SIGNED in kinds:
        raise _wrong_pixels("signed 8 bits")
    _silence_libtiff()


def refuse_wrapped(image: Image.Image) -> None:
    """Checks a decoded TIFF file of one channel with 32 bits, which Pillow takes as signed.

    Raises:
        ImageError: Large values have become negative.
    """
    kinds = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (_UNSIGNED,))
    if image.mode == "I" and kinds == (_UNSIGNED,) and image.getextrema()[0] < 0:  # type: ignore[operator]
        raise _wrong_pixels("unsigned 32 bits")


def _wrong_pixels(what: str) -> ImageError:
    return ImageError(f"a TIFF with {what}, which Pillow decodes to wrong pixels; save it with 8 bits, or as PNG")


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


def is_tiff(data: bytes) -> bool:
    """Returns whether a file begins as one that Pillow opens as TIFF: it takes the number 42 or 43 in either byte order."""
    return data.startswith((b"II", b"MM")) and not {42, 43}.isdisjoint(data[2:4])


def count_pieces(data: bytes) -> int:
    """Returns the number of strips or tiles in the first directory of a TIFF or BigTIFF file.

    Raises:
        struct.error: The file ends in its header.
    """
    fields = _read_fields(data)
    return max(fields.get(tag, (0, 0))[0] for tag in (_STRIP_OFFSETS, _TILE_OFFSETS))


def is_raw(data: bytes) -> bool:
    """Returns whether a file is a camera's raw file that is built as a TIFF or BigTIFF, such as DNG, NEF or ARW.

    The first image in most of them is a preview, as small as a thumbnail, and a subdirectory has the sensor's data.

    Raises:
        struct.error: The file ends in its header.
    """
    if not is_tiff(data):
        return False
    fields = _read_fields(data)
    return (
        _RAW_STARTS.match(data) is not None
        or _DNG_VERSION in fields
        or _holds_sensor_data(fields)
        or (
            (_WIDTH not in fields or _is_reduced(fields))
            and any(_holds_sensor_data(fields) for fields in _read_sub_directories(data))
        )
    )


def starts_with_thumbnail(data: bytes) -> bool:
    """Returns whether the first image of a TIFF or BigTIFF file is a reduced version of one in another directory.

    Pillow reads no subdirectories. An ordinary file with several images, such as a pyramid, has the largest one first.

    Raises:
        struct.error: The file ends in its header.
    """
    fields = _read_fields(data) if is_tiff(data) else {}
    return _is_reduced(fields) and (_SUB_DIRECTORIES in fields or _has_second_directory(data))


def _is_reduced(fields: dict[int, tuple[int, int]]) -> bool:
    return bool(fields.get(_SUBFILE_TYPE, (0, 0))[1] & _REDUCED)


def _holds_sensor_data(fields: dict[int, tuple[int, int]]) -> bool:
    return (
        fields.get(_PHOTOMETRIC, (0, 0))[1] in _SENSOR_DATA or fields.get(_COMPRESSION, (0, 0))[1] in _RAW_COMPRESSIONS
    )


def piece_size(data: bytes, size: tuple[int, int]) -> tuple[int, int]:
    """Returns width and height of the strips or tiles of a TIFF file whose image has this size."""
    fields = _read_fields(data)
    if _TILE_WIDTH in fields and _TILE_LENGTH in fields:
        return fields[_TILE_WIDTH][1], fields[_TILE_LENGTH][1]
    width, height = size
    return width, min(height, fields.get(_ROWS_PER_STRIP, (1, height))[1])


def sample_bytes(image: Image.Image) -> float:
    """Returns the size of an unpacked pixel of an opened TIFF file in bytes; 0 if libtiff unpacks nothing."""
    if all(tile[0] != "libtiff" for tile in image.tile):  # type: ignore[attr-defined]
        return 0
    tags = image.tag_v2  # type: ignore[attr-defined]
    return float(tags.get(_SAMPLES_PER_PIXEL, 1) * max(tags.get(_BITS_PER_SAMPLE, (1,))) / 8)


def _read_fields(data: bytes, position: int | None = None) -> dict[int, tuple[int, int]]:
    """Returns number of values and value by tag, of a directory; the largest where a tag is repeated.

    The value of a tag with several values is without meaning.
    """
    fields: dict[int, tuple[int, int]] = {}
    for tag, kind, values, content in _read_entries(data, position):
        value = int.from_bytes(content[: _INTEGER_BYTES.get(kind, 0)], _byte_order(data))
        earlier = fields.get(tag, (0, 0))
        fields[tag] = max(values, earlier[0]), max(value, earlier[1])
    return fields


def _read_sub_directories(data: bytes) -> Iterator[dict[int, tuple[int, int]]]:
    """Yields the fields of the first subdirectories, without those that are cut off."""
    for place in _sub_directories(data):
        with suppress(struct.error):
            yield _read_fields(data, place)


def _sub_directories(data: bytes) -> set[int]:
    """Returns the positions of at most ``_MOST_SUB_DIRECTORIES`` subdirectories of the first directory."""
    for tag, kind, values, content in _read_entries(data):
        if tag == _SUB_DIRECTORIES:
            size, order = _INTEGER_BYTES.get(kind, 0), _byte_order(data)
            if size * values > len(content):  # the values are elsewhere
                place = int.from_bytes(content, order)
                content = data[place : place + size * _MOST_SUB_DIRECTORIES]
            count = min(values, _MOST_SUB_DIRECTORIES)
            return {int.from_bytes(content[i * size : (i + 1) * size], order) for i in range(count)}
    return set()


def _has_second_directory(data: bytes) -> bool:
    """Returns whether a directory follows the first one."""
    order, large = _byte_order(data), 43 in data[2:4]
    size, count, entry = (8, 8, 20) if large else (4, 2, 12)
    start = int.from_bytes(data[size : 2 * size], order)
    end = start + count + entry * int.from_bytes(data[start : start + count], order)
    return any(data[end : end + size])


def _byte_order(data: bytes) -> Literal["little", "big"]:
    return "little" if data[:2] == b"II" else "big"


def _read_entries(data: bytes, position: int | None = None) -> Iterator[tuple[int, int, int, bytes]]:
    """Yields tag, type, number of values and content of each entry of a directory; by default the first one."""
    order, large = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start, count, entry, length = ("Q", "Q", "HHQ8s", 20) if large else ("L", "H", "HHL4s", 12)
    if position is None:
        (position,) = struct.unpack_from(order + start, data, 8 if large else 4)
    if position > len(data):  # struct itself raises other errors for the largest positions
        raise struct.error("a directory beyond the end of the file")
    (entries,) = struct.unpack_from(order + count, data, position)
    position += struct.calcsize(order + count)
    for number in range(min(entries, 1 << 16)):
        yield struct.unpack_from(order + entry, data, position + number * length)
