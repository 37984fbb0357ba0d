"""Limits on the cost of untrusted images, checked before decoding. So no file takes minutes or gigabytes to decode.

The size of a file does not limit its cost. A few kilobytes can contain gigapixels (a decompression bomb), or millions of
chunks that Pillow reads one by one in Python. A progressive JPEG can have thousands of scans over the same pixels.
"""

import io
import math
import re
from collections.abc import Iterator
from itertools import islice

import numpy as np
from PIL import Image

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.avif import decoded_bytes, read_frames
from fmnist_runtime.image_io.jpeg2000 import structure_bytes
from fmnist_runtime.image_io.repair import PLAIN_PNM
from fmnist_runtime.image_io.tiff import count_pieces, is_tiff, piece_size, sample_bytes

__all__ = [
    "JPEG_END",
    "MAX_BYTES",
    "MAX_HEADER_MARKERS",
    "MAX_ICON_PIXELS",
    "MAX_PIXELS",
    "VIDEO",
    "Metered",
    "describe_bomb",
    "jpeg_markers",
    "refuse_many_pieces",
    "refuse_size",
    "refuse_too_much",
]

MAX_BYTES = 1 << 28
"""Bytes. Larger files are refused; the largest files of cameras have tens of MiB."""
MAX_PIXELS = 100_000_000
"""Pixels. Larger images are refused as decompression bombs: decoded, they take 300 MB and more."""
MAX_JPEG_PIXELS = 300_000_000
"""Pixels of a baseline JPEG, which is decoded at a reduced scale, row by row; phones take photos of 200 megapixels."""
MAX_ICON_PIXELS = 4_000_000
"""Largest number of pixels of a picture in an icon file: ICO states up to 256×256, ICNS up to 1024×1024."""
MAX_PYTHON_PIXELS = 3_000_000
"""Largest number of pixels for Pillow's decoders that are written in Python, which take one to three µs a pixel."""
MAX_DECODED_BYTES = 450_000_000
"""Bytes in which one image must be decodable. With those of Python and the libraries, the process needs up to 500 MB."""
_MODE_BYTES = {
    "1": 2,
    "L": 2,
    "P": 5,
    "RGB": 4,
    "YCbCr": 4,
    "LAB": 5,
    "I": 5,
    "F": 5,
    "I;16": 6,
    "I;16B": 6,
    "CMYK": 8,
    "RGBA": 8,
}
"""Bytes a pixel at the peak of decoding and shrinking, by Pillow's mode; measured, as are all the following."""
_OTHER_MODE_BYTES = 12
"""Bytes a pixel of any other mode, such as LA: Pillow keeps 4 bytes a pixel, and makes two more copies of 4 bytes."""
_ONE_BYTE = frozenset(["1", "L", "P"])
"""Modes of which Pillow keeps one byte a pixel; of most others four."""
_TRANSPARENT_BYTES = {"1": 9, "L": 9, "P": 9}
"""Bytes a pixel of images with one transparent color, by mode: they become RGBA."""
_FORMAT_BYTES = {"WEBP": (18, 18), "AVIF": (13.5, 16.8), "HEIF": (9.2, 12.5), "JPEG2000": (22.2, 27.6)}
"""Bytes a pixel, without and with transparency, of formats whose decoder holds several copies. Measured at 1 to 43 megapixels.
AVIF: with 10 bits and a color for each pixel (4:4:4), because Pillow states neither; with 8 bits 10.4 and 12.7. HEIF: with 8
bits. Phones take HEIF photos of 48 megapixels, which take 450 MB. JPEG 2000: without the structure, see ``jpeg2000``."""
_DEEP_HEIF_BYTES = (15.4, 20.5)
"""Bytes a pixel of HEIF with 10 or 12 bits, unless its colors are halved in both directions (4:2:0): those take no more than
with 8 bits."""
_COEFFICIENT_BYTES = 2
"""Bytes a pixel and color component of a JPEG in several scans: all its coefficients are in memory at the same time."""
MAX_SCANS = 100
"""Largest number of scans of a progressive JPEG: an ordinary file has about ten, a hostile one thousands."""
MAX_HEADER_MARKERS = 1000
"""Largest number of markers examined before the first scan of a JPEG: an ordinary file has up to a hundred."""
MAX_PIECES = 100_000
"""Largest number of strips or tiles of a TIFF: Pillow takes some microseconds for each, whatever its size."""
MAX_EXIF_SEGMENTS = 100
"""Largest number of EXIF segments of a JPEG, of which cameras write one: Pillow appends each to a copy of those before."""
MAX_COMMENTS = 10_000
"""Largest number of comments in a plain PBM, PGM or PPM file."""
MAX_READS = 2_000_000
"""Largest number of ``read`` calls for one file: Pillow needs tens for an ordinary header, and millions for a hostile one."""
READS_PER_PIXEL = 2
"""Further calls that Pillow's decoders in Python may make for each pixel."""
VIDEO = "a video; export a frame as PNG or JPEG"
"""Error message."""
_REFUSED = {
    "EPS": "EPS is a PostScript program, which is not run; convert it to PNG",
    **{
        kind: f"{kind} may contain a picture of another format and of any size; convert it to PNG"
        for kind in ("BLP", "FPX", "IPTC", "MIC")
    },
    **{kind: f"{kind} is a Windows metafile of drawings; export it as PNG" for kind in ("EMF", "WMF")},
    **{kind: f"{kind} holds measurements; export a picture of them as PNG" for kind in ("BUFR", "GRIB", "HDF5")},
    "MPEG": VIDEO,
}
"""Formats that Pillow recognizes and does not read on every system, and those that are no bounded pictures: what to do."""
JPEG_END = 0xD9
"""Marker of the end of an image."""
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


class Metered(io.BytesIO):
    """File in memory that may be read ``MAX_READS`` times, and some more times for each pixel that Python decodes."""

    _left = MAX_READS

    def allow_decoding(self, image: Image.Image) -> None:
        """Allows the calls that decoding this opened image takes."""
        if _is_decoded_in_python(image):
            self._left += READS_PER_PIXEL * image.width * image.height

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as ``BytesIO.read``.

        Raises:
            ImageError: More than ``MAX_READS`` calls.
        """
        self._count()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Reads as ``BytesIO.readline``, counted as by ``read``."""
        self._count()
        return super().readline(size)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ImageError("the file consists of too many small parts: refused")


def refuse_too_much(
    image: Image.Image, max_pixels: int | None = None, *, data: bytes = b"", most: int = MAX_JPEG_PIXELS
) -> None:
    """Checks the size and format of an opened image before it is decoded.

    Args:
        image: Image opened, but not decoded, by Pillow.
        max_pixels: Largest number of pixels that the caller accepts; None: only the limits of this module apply.
        data: The image's file; empty if it is unknown. A JPEG is then taken for one that is decoded row by row.
        most: Largest number of pixels of this kind of file.

    Raises:
        ImageError: The image has no pixels, too many pixels, or a refused format.
    """
    if image.format in _REFUSED:
        raise ImageError(_REFUSED[image.format])
    if not image.width or not image.height:
        raise ImageError("the picture has no pixels")
    by_rows = image.format == "JPEG" and not image.info.get("progressive") and (not data or _is_in_one_scan(data))
    limit = min(MAX_JPEG_PIXELS if by_rows else MAX_PIXELS, most)
    size, memory = image.size, _bytes_per_pixel(image)
    if image.format == "TIFF" and data:  # libtiff unpacks a whole strip or tile, which may be larger than the image
        piece = piece_size(data, size)
        size = max(size, piece, key=math.prod)
        share = math.prod(piece) / math.prod(size)
        memory = max(memory, (1 if image.mode in _ONE_BYTE else 4) + share * sample_bytes(image))
    if image.format == "JPEG2000" and data:
        memory += structure_bytes(data) / math.prod(size)
    if image.format == "AVIF" and data:
        frames, transparent = read_frames(data), image.mode == "RGBA"
        size = max(size, *(frame.size for frame in frames), key=math.prod)
        memory = max(memory, decoded_bytes(frames, image.size, transparent=transparent) / math.prod(size))
    if image.format and not by_rows:
        limit = min(limit, int(MAX_DECODED_BYTES / memory))
    if _is_decoded_in_python(image):
        limit = min(limit, MAX_PYTHON_PIXELS)
    refuse_size(size, max_pixels, limit)


def refuse_size(size: tuple[int, int], max_pixels: int | None = None, most: int = MAX_PIXELS) -> None:
    """Checks a width and height in pixels.

    Args:
        size: Width and height.
        max_pixels: Largest number of pixels that the caller accepts.
        most: Largest number of pixels of this kind of picture.

    Raises:
        ImageError: There are more pixels.
    """
    limit = min(most, max_pixels or most)
    if math.prod(size) > limit:
        width, height = size
        advice = "refused as a decompression bomb"
        if limit == max_pixels:
            advice = "send a smaller picture, or raise the limit (--max-pixels of fmnist-serve)"
        raise ImageError(f"{width}×{height} pixels is over the limit of {limit:,}: {advice}")


def _is_decoded_in_python(image: Image.Image) -> bool:
    return any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ()))


def describe_bomb(error: Image.DecompressionBombError) -> str:
    """Returns one line about an image that Pillow refuses before its size is known here; two numbers are in its message."""
    pixels, limit = [int(number) for number in re.findall(r"\d+", str(error))[:2]]
    return f"{pixels:,} pixels is over the limit of {min(limit, MAX_PIXELS):,}: refused as a decompression bomb"


def _bytes_per_pixel(image: Image.Image) -> float:
    """Returns the memory at the peak of decoding, in bytes a pixel."""
    if image.format == "JPEG":
        return _COEFFICIENT_BYTES * len(image.getbands())
    if image.format == "HEIF" and image.info.get("bit_depth", 8) > 8 and image.info.get("chroma") != 420:
        return _DEEP_HEIF_BYTES[image.mode == "RGBA"]
    if image.format in _FORMAT_BYTES:
        return _FORMAT_BYTES[image.format][image.mode == "RGBA"]
    if "transparency" in image.info:
        return _TRANSPARENT_BYTES.get(image.mode, _OTHER_MODE_BYTES)
    return _MODE_BYTES.get(image.mode, _OTHER_MODE_BYTES)


def refuse_many_pieces(data: bytes) -> None:
    """Checks that a JPEG, TIFF or plain PNM file does not have far more parts than cameras and programs write.

    Raises:
        ImageError: More than ``MAX_SCANS`` scans, ``MAX_EXIF_SEGMENTS`` EXIF segments, ``MAX_PIECES`` strips or tiles, or
            ``MAX_COMMENTS`` comments.
        struct.error: A TIFF file that ends in its header.
    """
    # Pillow finds segments where ``jpeg_markers`` finds none, in files that break the rules: so their contents are counted.
    if data.startswith(b"\xff\xd8") and data.count(b"Exif\0\0") > MAX_EXIF_SEGMENTS:
        raise ImageError(f"a JPEG of more than {MAX_EXIF_SEGMENTS} EXIF segments: refused as a decompression bomb")
    if data.startswith(PLAIN_PNM) and data.count(b"#") > MAX_COMMENTS:
        raise ImageError(f"a plain PNM file of more than {MAX_COMMENTS:,} comments: refused as a decompression bomb")
    # The tests are in the order of their cost. Each accepts nearly all files, so few files reach the next one.
    many = data.startswith(b"\xff\xd8") and not _is_in_one_scan(data) and _count_pairs(data, b"\xff\xda") > MAX_SCANS
    if many and sum(kind == 0xDA for kind, _ in jpeg_markers(data)) > MAX_SCANS:
        raise ImageError(f"a JPEG of more than {MAX_SCANS} scans: refused as a decompression bomb")
    if is_tiff(data) and count_pieces(data) > MAX_PIECES:
        raise ImageError(f"a TIFF of more than {MAX_PIECES:,} strips or tiles: refused as a decompression bomb")


def _is_in_one_scan(data: bytes) -> bool:
    """Returns whether the first scan of a sequential JPEG has all color components, so that decoders read no second one."""
    components = b""
    for kind, segment in islice(jpeg_markers(data), MAX_HEADER_MARKERS):
        if kind == 0xDA:
            return components == data[segment + 2 : segment + 3] != b""
        if kind in (0xC0, 0xC1):  # Huffman coding; after length, precision, height, width
            components = data[segment + 7 : segment + 8]
        elif 0xC2 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # progressive, lossless or arithmetic coding
            return False
    return False


def _count_pairs(data: bytes, pair: bytes) -> int:
    """Returns how often a pair of two different bytes occurs."""
    pairs = (
        np.frombuffer(data, np.uint16, (len(data) - start) // 2, start) for start in (0, 1) if len(data) > start + 1
    )
    return sum(int(np.count_nonzero(each == np.frombuffer(pair, np.uint16)[0])) for each in pairs)


def jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the markers of the first image in a JPEG file (ISO 10918-1, B.1.1), and the positions after them.

    The last one is ``JPEG_END``, unless the file lacks it.
    """
    position = 2
    while found := _MARKER.search(data, position):
        kind = found[1][0]
        yield kind, found.end()
        if kind == JPEG_END:  # phones append videos and depth maps
            return
        length = int.from_bytes(data[found.end() : found.end() + 2])
        position = found.end() + (length if kind not in (0x01, 0xD8) else 0)
