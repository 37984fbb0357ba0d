"""Structured mutations of image files: chunks, segments, tags and blocks added, doubled, emptied, removed or made too long.

A file is split into its parts by the rules of its format, one to four parts change, and the file is assembled again with
correct lengths and checksums. The decoder therefore reads further than it does with random bytes.
"""

import random
import struct
import zlib
from collections.abc import Callable

__all__ = ["change_parts", "mutate_structure"]

_TEXT = zlib.compress(bytes(2 << 20))
"""Two megabytes of zeros: more than decoders allow one chunk of text."""
_SIZES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
"""Sizes and offsets at the limits of 16-bit and 32-bit fields."""
_TIFF_TAGS = (
    254,
    256,
    257,
    258,
    259,
    262,
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    320,
    322,
    323,
    324,
    330,
    338,
    339,
    34665,
    34675,
)
"""TIFF tags that the decoder reads: sizes, compression, strips, tiles, sub-directories, EXIF and color profile."""


def mutate_structure(data: bytes, rng: random.Random) -> bytes | None:
    """Returns a file with changed parts; None where its format is none of PNG, JPEG, TIFF, GIF and WebP."""
    for signature, mutate in _FORMATS.items():
        if data.startswith(signature):
            return mutate(data, rng)
    return None


def change_parts(parts: list[bytes], extra: list[bytes], rng: random.Random) -> list[bytes]:
    """Adds, doubles, empties, removes, moves or lengthens one to four parts."""
    parts = list(parts)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not parts:
            return [rng.choice(extra)]
        at = rng.randrange(len(parts))
        match rng.randrange(6):
            case 0:
                parts.insert(at, rng.choice(extra))
            case 1:
                parts[at:at] = [parts[at]] * rng.choice((1, 2, 300))
            case 2:
                parts[at] = parts[at][:4]
            case 3:
                del parts[at]
            case 4:
                parts.insert(rng.randrange(len(parts)), parts.pop(at))
            case _:
                parts[at] += rng.randbytes(rng.choice((1, 100, 60_000)))
    return parts


def _png(data: bytes, rng: random.Random) -> bytes:
    parts, position = [], 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        parts.append(data[position + 4 : position + 8 + length])
        position += 12 + length
    extra = [
        b"zTXtComment\0\0" + _TEXT,
        b"iTXtComment\0\1\0\0\0" + _TEXT,
        b"iCCPname\0\0" + _TEXT,
        b"eXIf",
        b"acTL" + bytes(8),
    ]
    extra += [b"tRNS" + rng.randbytes(300), b"PLTE" + rng.randbytes(768), b"IDAT", b"fcTL" + rng.randbytes(26)]
    changed = change_parts(parts, extra, rng)
    return data[:8] + b"".join(
        struct.pack(">L", len(p) - 4) + p + struct.pack(">L", zlib.crc32(p)) for p in changed if len(p) >= 4
    )


def _jpeg(data: bytes, rng: random.Random) -> bytes:
    parts, position = [], 2
    while position + 4 <= len(data) and data[position + 1] != 0xDA:
        length = 2 + int.from_bytes(data[position + 2 : position + 4])
        parts.append(data[position + 1 : position + 2] + data[position + 4 : position + length])
        position += length
    exif = b"\xe1Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHLL", 0x112, 3, 1, rng.choice(_SIZES))
    extra = [exif, b"\xe1Exif\0\0", b"\xe2ICC_PROFILE\0\1\xff" + bytes(50), b"\xe2MPF\0II*\0", b"\xfe" + bytes(65_000)]
    extra += [
        b"\xdd\0\1",
        b"\xee" + b"Adobe\0\x64\0\0\0\0" + bytes([rng.randrange(256)]),
        b"\xdb" + bytes(65),
        b"\xc4" + bytes(17),
    ]
    changed = [p for p in change_parts(parts, extra, rng) if 0 < len(p) < 65_000]
    segments = [b"\xff" + p[:1] + struct.pack(">H", len(p) + 1) + p[1:] for p in changed]
    return data[:2] + b"".join(segments) + data[position:]


def _tiff(data: bytes, rng: random.Random) -> bytes:
    order = "<" if data[:2] == b"II" else ">"
    (position,) = struct.unpack_from(order + "L", data, 4)
    (count,) = struct.unpack_from(order + "H", data, position)
    parts = [data[position + 2 + 12 * i : position + 14 + 12 * i] for i in range(count)]
    value = rng.choice((*_SIZES, position, len(data)))
    extra = [struct.pack(order + "HHLL", tag, rng.randrange(14), rng.choice(_SIZES), value) for tag in _TIFF_TAGS]
    entries = [p[:12] for p in change_parts(parts, extra, rng) if len(p) >= 12]
    following = rng.choice((0, 0, len(data)))  # a directory that refers to itself
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "L", following)
    return data[:4] + struct.pack(order + "L", len(data)) + data[8:] + directory


def _gif(data: bytes, rng: random.Random) -> bytes:
    head = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    parts, position = [], head
    while position < len(data) and data[position] in b"\x21\x2c":
        start = position
        if data[position] == 0x21:
            position += 2
        else:
            flags = data[position + 9]
            position += 11 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
        parts.append(data[start:position])
    extra = [
        b"\x21\xfe" + b"\xff" + bytes(255) + b"\0",
        b"\x21\xf9\x04" + rng.randbytes(4) + b"\0",
        b"\x21\xff\x0bNETSCAPE2.0\0",
    ]
    extra.append(b"\x2c" + struct.pack("<4H", *(rng.choice((0, 1, 65_535)) for _ in range(4))) + b"\0\x08\0")
    return data[:head] + b"".join(change_parts(parts, extra, rng)) + data[position:]


def _webp(data: bytes, rng: random.Random) -> bytes:
    parts, position = [], 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        parts.append(data[position : position + 4] + data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    extra = [
        b"VP8X" + rng.randbytes(10),
        b"EXIF",
        b"EXIF" + bytes(60_000),
        b"ICCP" + bytes(100),
        b"ALPH" + rng.randbytes(40),
    ]
    extra += [b"ANIM" + bytes(6), b"ANMF" + rng.randbytes(60), b"XMP " + b"<" * 1000]
    chunks = [
        p[:4] + struct.pack("<L", len(p) - 4) + p[4:] + bytes(len(p) % 2)
        for p in change_parts(parts, extra, rng)
        if len(p) >= 4
    ]
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(body)) + body


_FORMATS: dict[bytes, Callable[[bytes, random.Random], bytes]] = {
    b"\x89PNG": _png,
    b"\xff\xd8": _jpeg,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"GIF8": _gif,
    b"RIFF": _webp,
}
