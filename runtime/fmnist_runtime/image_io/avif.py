"""AVIF files: the size and memory of the frames in them, which the size that the file states does not limit.

A decoder unpacks each frame at the frame's own size, up to 268 million pixels, and then scales it to the stated size. Sources:
ISO 14496-12 (boxes) and ISO 23008-12 (items, which HEIF has, too).
"""

import math
from collections.abc import Iterator, Sequence

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.av1 import Frame, read_coded_frames

__all__ = ["coded_images", "decoded_bytes", "read_frames"]

_PARENTS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
"""Boxes that contain others, and the number of bytes before these."""
_MAX_PARTS = 20_000
"""Largest number of boxes, items, and units in them: a photo has up to some hundred, and each takes some microseconds."""
_MAX_JOINED = 1 << 26
"""Largest number of bytes of images that are stored in several places; programs store each in one."""
_WORK_BYTES = 0.5
"""Bytes a pixel of a frame that the decoder needs besides its planes: the rest of the measured peaks. With the following, they
are estimated within 5%, at 24 megapixels and 8 bits in color."""
_OUTPUT_BYTES = (7.0, 8.3)
"""Bytes a pixel of the image after the decoder, without and with transparency: 3 or 4 in the library and 4 in Pillow; the rest
is measured. Gray images take less."""


class _Budget:
    """Number of parts that may still be examined."""

    _left = _MAX_PARTS

    def take(self) -> None:
        """Counts one part.

        Raises:
            ImageError: There were ``_MAX_PARTS`` before.
        """
        self._left -= 1
        if self._left < 0:
            raise ImageError("the file consists of too many small parts: refused")


def decoded_bytes(frames: Sequence[Frame], size: tuple[int, int], *, transparent: bool) -> float:
    """Returns the memory at the peak of decoding, in bytes.

    Args:
        frames: All frames of the file.
        size: Stated width and height. Frames of another size are scaled, or joined as tiles, in a copy.
        transparent: Whether there is a frame of opacities.
    """
    pixels = math.prod(size)
    copies = 0.0 if all(frame.size == size for frame in frames) else max(frame.pixel_bytes for frame in frames)
    planes = sum(math.prod(frame.size) * (frame.pixel_bytes + _WORK_BYTES) for frame in frames)
    return planes + pixels * (copies * (1 + transparent) + _OUTPUT_BYTES[transparent])


def read_frames(data: bytes) -> list[Frame]:
    """Returns all frames of the still images in an AVIF file, and the first of each track.

    Raises:
        ImageError: The file has no frame, or far more parts than any photo.
    """
    budget = _Budget()
    frames = [frame for image in _images(data, budget) for frame in read_coded_frames(image, budget.take)]
    if not frames:
        raise ImageError("a damaged or truncated AVIF image")
    return frames


def _boxes(data: memoryview, budget: _Budget, start: int = 0) -> Iterator[tuple[bytes, memoryview]]:
    """Yields type and content of all boxes, also of those inside others."""
    while start + 8 <= len(data):
        budget.take()
        size, kind, header = int.from_bytes(data[start : start + 4]), bytes(data[start + 4 : start + 8]), 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16]), 16
        end = start + size if size else len(data)
        content = data[start + header : end]
        yield kind, content
        if kind in _PARENTS:
            yield from _boxes(content, budget, _PARENTS[kind])
        start = max(end, start + 8)


def coded_images(data: bytes) -> Iterator[memoryview]:
    """Yields the content of each item of a HEIF or AVIF file, and the first sample of each track.

    Raises:
        ImageError: The file has far more parts than any photo.
    """
    return _images(data, _Budget())


def _images(data: bytes, budget: _Budget) -> Iterator[memoryview]:
    """Yields the content of each item, and the first sample of each track."""
    view = memoryview(data)
    boxes = list(_boxes(view, budget))
    inside = [content for kind, content in boxes if kind == b"idat"]
    sample = max((_first_size(content) for kind, content in boxes if kind == b"stsz"), default=0)
    for kind, content in boxes:
        if kind == b"iloc":
            yield from _items(content, [view], inside, budget)
        elif kind in (b"stco", b"co64"):
            start = int.from_bytes(content[8 : 12 if kind == b"stco" else 16])
            yield view[start : start + sample]


def _first_size(content: memoryview) -> int:
    return int.from_bytes(content[4:8]) or int.from_bytes(content[12:16])


def _items(
    content: memoryview, file: list[memoryview], inside: list[memoryview], budget: _Budget
) -> Iterator[memoryview]:
    """Yields the content of each item that a box ``iloc`` lists (ISO 14496-12, 8.11.3), from each of its possible sources."""
    version, sizes, position = int.from_bytes(content[:1]), int.from_bytes(content[4:6]), 6

    def read(size: int) -> int:
        nonlocal position
        position += size
        return int.from_bytes(content[position - size : position])

    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    joined = 0
    for _ in range(read(2 if version < 2 else 4)):
        if position >= len(content):
            return
        read(2 if version < 2 else 4)
        sources = inside if version and read(2) & 15 == 1 else file
        read(2)
        base, ranges = read(base_size), []
        for _ in range(read(2)):
            budget.take()
            read(index_size if version else 0)
            start = base + read(offset_size)
            length = read(length_size)
            ranges.append(slice(start, start + length if length else None))
        for source in sources:
            budget.take()
            pieces = [source[each] for each in ranges]
            if len(pieces) > 1:
                joined += sum(map(len, pieces))
                if joined > _MAX_JOINED:
                    raise ImageError("the image is scattered over the file: refused")
                pieces = [memoryview(b"".join(pieces))]
            yield from pieces
