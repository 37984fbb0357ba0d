"""Headers of AV1, the coding of AVIF images: the size and the planes of each frame.

Source: AV1 Bitstream and Decoding Process Specification, sections 5.3 to 5.9 and 6.2.2.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Frame", "read_coded_frames"]

_SEQUENCE_HEADER, _FRAME_HEADERS = 1, (3, 6, 7)
"""Types of units; 6 is a header with its frame, and 7 a repeated header."""
_SEQUENCE_BYTES, _FRAME_BYTES = 1024, 64
"""Bytes of a unit that hold the fields that are read here."""
_SELECT = 2
"""Value of a tool that each frame header turns on or off."""


class Frame(NamedTuple):
    """One coded frame."""

    size: tuple[int, int]
    """Width and height in pixels, at most."""
    pixel_bytes: float
    """Bytes a pixel of the decoded planes; twice as many where film grain may be added, which makes a copy."""


def read_coded_frames(data: memoryview, count: Callable[[], None]) -> Iterator[Frame]:
    """Yields the frames of one coded image.

    Args:
        data: The image.
        count: Called for each unit in it.
    """
    sequence = None
    for kind, unit in _units(data):
        count()
        if kind == _SEQUENCE_HEADER:
            sequence = _read_sequence(_Bits(bytes(unit[:_SEQUENCE_BYTES])))
        elif kind in _FRAME_HEADERS and sequence:
            size = _frame_size(_Bits(bytes(unit[:_FRAME_BYTES])), sequence)
            if size is not None:
                yield Frame(size, sequence.pixel_bytes)


class _Bits:
    """Reader of unsigned numbers of any number of bits; after the end of the data, all bits are 0."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, bits: int = 1) -> int:
        self._left -= bits
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << bits) - 1)

    def skip_uvlc(self) -> None:
        zeros = 0
        while zeros < 32 and not self.read():
            zeros += 1
        self.read(zeros if zeros < 32 else 0)


class _Sequence(NamedTuple):
    """The fields of a sequence header on which the size of a frame depends."""

    reduced: bool
    """Whether a single frame of the stated size follows."""
    time_bits: int
    id_bits: int
    screen_content: int
    integer_motion: int
    size: tuple[int, int]
    largest: tuple[int, int]
    """Largest size that a frame header can state instead. The standard limits it to ``size``, but dav1d, which Pillow uses,
    decodes larger frames."""
    pixel_bytes: float


def _units(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields type and content of the units of a coded image (AV1, 5.3)."""
    position = 0
    while position < len(data):
        header = data[position]
        position += 2 if header & 4 else 1
        size, shift = len(data) - position, 0
        if header & 2:
            size = 0
            for byte in data[position : position + 8]:
                position += 1
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        yield header >> 3 & 15, data[position : position + size]
        position += size


def _read_sequence(bits: _Bits) -> _Sequence:
    """Reads a sequence header (AV1, 5.5)."""
    read = bits.read
    profile, _, reduced = read(3), read(), bool(read())
    time_bits = 0
    if reduced:
        read(5)  # level
    else:
        time_bits = _read_operating_points(bits)
    widths = read(4) + 1, read(4) + 1
    size = read(widths[0]) + 1, read(widths[1]) + 1
    id_bits = read(4) + read(3) + 3 if not reduced and read() else 0
    read(3)  # superblocks, filter_intra, intra_edge_filter
    screen_content = integer_motion = _SELECT
    if not reduced:
        read(4)  # interintra, masked compound, warped motion, dual filter
        order = read()
        read(2 * order)
        screen_content = _SELECT if read() else read()
        integer_motion = _SELECT if not screen_content or read() else read()
        read(3 * order)
    read(3)  # superres, cdef, restoration
    pixel_bytes = _read_colors(bits, profile)
    largest = 1 << widths[0], 1 << widths[1]
    film_grain = read()
    return _Sequence(
        reduced, time_bits, id_bits, screen_content, integer_motion, size, largest, pixel_bytes * (1 + film_grain)
    )


def _read_operating_points(bits: _Bits) -> int:
    """Reads timing and operating points; returns the number of bits of a frame's time, 0 where frames have none."""
    read = bits.read
    delay_bits = time_bits = equal = 0
    if read():
        read(64)
        if equal := read():
            bits.skip_uvlc()
        if read():
            delay_bits = read(5) + 1
            read(32 + 5)
            time_bits = read(5) + 1
    displays = read()
    for _ in range(read(5) + 1):
        read(12)
        if read(5) > 7:
            read()
        if delay_bits and read():
            read(2 * delay_bits + 1)
        if displays and read():
            read(4)
    return 0 if equal else time_bits


def _read_colors(bits: _Bits, profile: int) -> float:
    """Reads the color configuration (AV1, 5.5.2); returns the bytes a pixel of the planes."""
    read = bits.read
    deep = read()
    twelve = profile == 2 and deep and read()
    gray = profile != 1 and read()
    colors = (read(8), read(8), read(8)) if read() else (2, 2, 2)
    if gray:
        read()
        return 1.0 + deep
    samples = 3.0
    if colors != (1, 13, 0):
        read()
        across = down = 0 if profile == 1 else 1
        if profile == 2:
            across = read() if twelve else 1
            down = read() if twelve and across else 0
        samples = 1 + 2 / (1 + across) / (1 + down)
        if across and down:
            read(2)
    read()
    return samples * (1 + deep)


def _frame_size(bits: _Bits, sequence: _Sequence) -> tuple[int, int] | None:
    """Returns the size of a frame, at most, from its header (AV1, 5.9.2); None where an earlier frame is shown again."""
    read = bits.read
    if sequence.reduced:
        return sequence.size
    if read():
        return None
    kind, shown = read(2), read()
    if shown:
        read(sequence.time_bits)
    else:
        read()
    key, switch = kind == 0, kind == 3
    if not switch and not (key and shown):
        read()
    read()
    screen_content = read() if sequence.screen_content == _SELECT else sequence.screen_content
    if screen_content and sequence.integer_motion == _SELECT:
        read()
    read(sequence.id_bits)
    return sequence.largest if switch or read() else sequence.size
