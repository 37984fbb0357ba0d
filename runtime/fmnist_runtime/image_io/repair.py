"""Removal of what is not pixels: long texts, because of which Pillow refuses a PNG, and comments, which it removes slowly."""

import re
import zlib

__all__ = ["PLAIN_PNM", "drop_comments", "drop_long_text"]

PLAIN_PNM = (b"P1", b"P2", b"P3")
"""First bytes of PBM, PGM and PPM files whose pixels are decimal numbers."""

_SIGNATURE_BYTES = 8
_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Chunks of text and color profiles (PNG specification, 11.3.2 and 11.3.3); Pillow unpacks these and the pixels only."""
_MAX_CHUNK = 1 << 20
"""Largest unpacked size of one chunk, in bytes: Pillow refuses a file with a larger one (``MAX_TEXT_CHUNK``)."""
_MAX_TOTAL = 1 << 24
"""Largest unpacked size of all chunks together, in bytes: a quarter of Pillow's limit. Unpacking takes under 0.1 s, because
no chunk is unpacked after the total is reached."""
_MAX_CHUNKS = 100_000
"""Number of chunks examined; a screenshot has some hundreds."""


def drop_long_text(data: bytes) -> bytes:
    """Returns the bytes of a PNG file without chunks of text and color profiles whose unpacked size is too large.

    Short chunks are kept: some programs store the orientation in text. After a malformed chunk, the rest of the file is
    unchanged, so that the decoder reports the error.
    """
    kept, start, position, size, total = [], 0, _SIGNATURE_BYTES, 0, 0
    for _ in range(_MAX_CHUNKS):
        end = position + 12 + int.from_bytes(data[position : position + 4])
        if end > len(data):
            break
        kind = data[position + 4 : position + 8]
        if kind in _TEXT:
            if total <= _MAX_TOTAL:
                size = _unpacked_size(kind, data[position + 8 : end - 4])
                total += min(size, _MAX_CHUNK)
            if size > _MAX_CHUNK or total > _MAX_TOTAL:
                kept.append(data[start:position])
                start = end
        position = end
    return b"".join([*kept, data[start:]]) if kept else data


def drop_comments(data: bytes) -> bytes:
    """Returns the bytes of a plain PBM, PGM or PPM file without comments; any other file unchanged.

    Pillow copies a block of the file for each comment, which takes minutes for a million of them.
    """
    return re.sub(rb"#[^\r\n]*", b"", data) if data.startswith(PLAIN_PNM) else data


def _unpacked_size(kind: bytes, content: bytes) -> int:
    """Returns the size of a chunk's text in bytes; unpacks no more than ``_MAX_CHUNK`` + 1."""
    packed = content.partition(b"\0")[2][1:]  # keyword, zero, compression method, data
    if kind == b"tEXt" or (kind == b"iTXt" and content.partition(b"\0")[2][:1] != b"\1"):
        return len(content)
    if kind == b"iTXt":  # compression flag and method, language, zero, translated keyword, zero, data
        packed = packed[1:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return len(zlib.decompressobj().decompress(packed, _MAX_CHUNK + 1))
    except zlib.error:  # Pillow ignores such a chunk, after it has unpacked what is before the error
        return _MAX_CHUNK
