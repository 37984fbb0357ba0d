"""Open pictures that somebody else made: any format of Pillow's, or one clear ``ImageError``, in bounded time and memory.

What a file may cost is checked from its header (``limits.py``) before anything is decoded; a large JPEG is decoded at a
reduced scale, which is several times faster and all that a 28×28 network needs.
"""

import os
import sys
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.limits import MAX_BYTES, Metered, refuse_many_pieces, refuse_too_much
from fmnist_runtime.image_io.pixel_formats import shrink_large, to_8_bits, upright
from fmnist_runtime.image_io.sources import EXTENSIONS, find_images

__all__ = ["EXTENSIONS", "find_images", "open_image"]

DRAFT_SIDE = 256
"""A JPEG is decoded at the smallest scale that leaves its shorter side at least this long."""


def open_image(source: str | Path | bytes | Image.Image, *, max_pixels: int | None = None) -> Image.Image:
    """Read a picture, upright, in a mode that keeps its tones (``L``, ``RGB`` or ``RGBA``), at most 2,048 pixels a side.

    Args:
        source: a file's path, ``-`` for standard input, the file's bytes, or what Pillow has opened already.
        max_pixels: refuse larger pictures, by their header; besides the limits that hold for all.

    Raises:
        ImageError: no such file, unreadable, not a picture, truncated, of size zero, or too large.
    """
    try:
        with _silence:
            return _decode(source, max_pixels)
    except UnidentifiedImageError as error:
        raise ImageError("not a picture, or in a format that this Pillow does not read") from error
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("the picture needs more memory than there is") from error
    except Exception as error:
        # Pillow's decoders raise whatever their format's parser does (OSError, SyntaxError, struct.error, ...): from
        # bytes that somebody else wrote, each of them means a damaged file.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ImageError(f"damaged or truncated picture ({reason})") from error


def _read(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif str(source) == "-":
        if sys.stdin is None:
            raise ImageError("cannot be read: standard input is closed")
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        try:
            with open(source, "rb") as file:  # noqa: PTH123 (a str need not become a Path on the hot path)
                size = os.fstat(file.fileno()).st_size  # 0 of a pipe; what is asked for is allocated at once
                data = file.read(min(size or MAX_BYTES, MAX_BYTES) + 1)
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: refused")
    return data


def _open(data: bytes) -> Image.Image:
    """Read the header. The two most common formats are known here, so that none of Pillow's other decoders is imported."""
    refuse_many_pieces(data)
    file = Metered(data)
    if data.startswith(b"\xff\xd8\xff"):  # also where Pillow would say MPO: the first picture is the one wanted
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(file)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(file)
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{error}: refused") from error


def _decode(source: str | Path | bytes | Image.Image, max_pixels: int | None) -> Image.Image:
    image = source if isinstance(source, Image.Image) else _open(_read(source))
    refuse_too_much(image, max_pixels)
    if image is not source and image.format == "JPEG" and min(image.size) > DRAFT_SIDE:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    with one_large if image.width * image.height > _LARGE else nullcontext():
        image.load()
        return to_8_bits(upright(shrink_large(image)))


_LARGE = 16_000_000
one_large: AbstractContextManager = threading.Lock()
"""Of pictures that take 50 MB and more while they are decoded, there is one at a time, however many threads there are; a
worker process puts a lock in this place that holds for all of them."""


class _Silence:
    """Drops Pillow's warnings about oddities of files. ``warnings.catch_warnings`` by itself is not for several threads."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_silence = _Silence()
