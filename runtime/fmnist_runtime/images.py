"""Open pictures that somebody else made: any format of Pillow's, or one clear ``ImageError``, in bounded time and memory.

Sizes are checked from the header before anything is decoded; a large JPEG is decoded at a reduced scale, which is several
times faster and all that a 28×28 network needs.
"""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist_runtime.errors import ImageError

__all__ = ["EXTENSIONS", "MAX_PIXELS", "find_images", "open_image"]

MAX_PIXELS = 100_000_000
"""Larger pictures are refused as decompression bombs."""
MAX_BYTES = 1 << 28
"""Larger files are refused unread."""
DRAFT_SIDE = 256
"""A JPEG is decoded at the smallest scale that leaves its shorter side at least this long."""
EXTENSIONS = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".ico",
        ".avif",
        ".jp2",
        ".tga",
    ]
)
"""What counts as a picture in a folder; a file that is named is opened whatever it is called."""


def find_images(path: Path) -> Iterator[Path]:
    """Yield the pictures below a folder in sorted order, one directory's names in memory at a time.

    Raises:
        ImageError: the folder cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"cannot read the folder: {error.strerror or error}") from error
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from find_images(Path(entry.path))
        elif Path(entry.name).suffix.lower() in EXTENSIONS:
            yield Path(entry.path)


def open_image(source: str | Path | bytes) -> Image.Image:
    """Read a picture, upright, in a mode that keeps its tones (``L``, ``RGB`` or ``RGBA``).

    Args:
        source: a file's path, ``-`` for standard input, or the file's bytes.

    Raises:
        ImageError: no such file, unreadable, not a picture, truncated, of size zero, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of files (Pillow warns) are no concern of the caller
            return _decode(_openable(source))
    except UnidentifiedImageError as error:
        raise ImageError("not a picture, or in a format that this Pillow does not read") from error
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("the picture needs more memory than there is") from error
    except Exception as error:
        # Pillow's decoders raise whatever their format's parser does (OSError, SyntaxError, struct.error, ...): from
        # bytes that somebody else wrote, each of them means a damaged file.
        raise ImageError(f"damaged or truncated picture ({type(error).__name__}: {error})") from error


def _openable(source: str | Path | bytes) -> io.BytesIO | str:
    """What Pillow shall open, of a checked size: the file's name, from which it knows which one of its decoders to import."""
    try:
        if isinstance(source, bytes):
            size, file = len(source), io.BytesIO(source)
        elif str(source) == "-":
            file = io.BytesIO(sys.stdin.buffer.read(MAX_BYTES + 1))
            size = file.getbuffer().nbytes
        else:
            size, file = _file_size(source), os.fspath(source)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    if not size:
        raise ImageError("the file is empty")
    if size > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: refused")
    return file


def _file_size(path: str | Path) -> int:
    with open(path, "rb") as file:  # noqa: PTH123 (a str need not become a Path on the hot path)
        return os.fstat(file.fileno()).st_size


def _decode(file: io.BytesIO | str) -> Image.Image:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # our own limit below gives one clear message
    try:
        image = Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if not width or not height:
        raise ImageError("the picture has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{width}×{height} pixels is over the limit of {MAX_PIXELS:,}: refused as a decompression bomb"
        )
    if image.format == "JPEG" and min(width, height) > DRAFT_SIDE:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    image.load()
    return _to_8_bits(ImageOps.exif_transpose(image))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Bring any mode to ``L``, ``RGB`` or ``RGBA``; wide integers and floats are stretched over their own range."""
    if image.mode in ("L", "RGB", "RGBA"):
        if "transparency" not in image.info:
            return image
        return image.convert("RGBA")
    if image.mode.startswith(("I", "F")):
        return _stretch(np.asarray(image, np.float64), sixteen_bit=image.mode.startswith("I;16"))
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _stretch(values: np.ndarray, *, sixteen_bit: bool) -> Image.Image:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if sixteen_bit or (values.min() >= 0 and 255 < values.max() <= 65535):
        scaled = values / 257  # 16-bit full range to 8-bit full range
    elif values.min() >= 0 and values.max() <= 1:
        scaled = values * 255
    elif values.min() >= 0 and values.max() <= 255:
        scaled = values
    else:
        low, span = values.min(), np.ptp(values)
        scaled = (values - low) / span * 255 if span > 0 else np.zeros_like(values)
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8))
