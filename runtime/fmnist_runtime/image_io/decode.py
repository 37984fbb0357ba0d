"""Decoding of untrusted images in bounded time and memory, in all formats that Pillow reads.

Every failure is an ``ImageError``.

The cost of a file is estimated from its header (``limits``) before it is decoded. A large JPEG is decoded at a reduced
scale, which is several times faster and enough for a 28×28 network input.
"""

import io
import os
import sys
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from fmnist_runtime.errors import ImageError, clear_frames, reason_of
from fmnist_runtime.files import read_at_most, standard_input
from fmnist_runtime.image_io.endings import LOST_END, has_lost_end
from fmnist_runtime.image_io.icons import refuse_large_icon
from fmnist_runtime.image_io.limits import (
    JPEG_END,
    MAX_BYTES,
    Metered,
    describe_bomb,
    jpeg_markers,
    refuse_many_pieces,
    refuse_size,
    refuse_too_much,
)
from fmnist_runtime.image_io.missing import describe_missing
from fmnist_runtime.image_io.pixel_formats import shrink_large, to_8_bits, upright
from fmnist_runtime.image_io.repair import drop_comments, drop_long_text
from fmnist_runtime.image_io.tiff import (
    THUMBNAIL_FIRST,
    UNREADABLE_TIFF,
    is_raw,
    prepare_tiff,
    refuse_wrapped,
    starts_with_thumbnail,
)
from fmnist_runtime.image_io.unsupported import (
    APPLE_PNG,
    RAW_FILE,
    describe_jpeg,
    describe_unsupported,
    heif_is_readable,
)

__all__ = ["BinaryReader", "Picture", "is_picture", "open_image"]


class BinaryReader(Protocol):
    """A file object opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Reads up to ``size`` bytes; returns no bytes at the end of the file."""


Picture = Image.Image | np.ndarray | str | os.PathLike[str] | bytes | BinaryReader
"""A Pillow image; uint8 ``[H, W]``, ``[H, W, 3]`` (RGB) or ``[H, W, 4]`` (RGBA); a path, ``-`` for standard input; a file's
bytes; or a binary file object."""

_CHANNELS = ((), (3,), (4,))
"""Shapes of an array's pixels: gray, RGB, RGBA."""
DRAFT_SIDE = 256
"""Pixels. A JPEG is decoded at the smallest scale that leaves its shorter side at least this long. Nine times the 28 pixels
of the network input leave enough detail for the segmentation."""
_LARGE_PIXELS = 16_000_000
"""Pixels. Larger images take 50 MB or more to decode, so only one is decoded at a time. Most phone photos are smaller."""
_one_large = threading.Lock()


def open_image(
    source: Picture, *, max_pixels: int | None = None, large_lock: AbstractContextManager[Any] | None = None
) -> Image.Image:
    """Reads an image: upright, in mode ``L``, ``RGB`` or ``RGBA``, at most 2,048 pixels a side.

    Args:
        source: See ``Picture``.
        max_pixels: Largest number of pixels stated in the header; None: only the limits of the module ``limits`` apply.
        large_lock: Lock held while a large image is decoded; None: one lock for all threads of this process.

    Raises:
        ImageError: The file does not exist or cannot be read; or the image is in an unknown format, truncated, without pixels,
            or too large.
    """
    outside = sys.exception()
    try:
        return _decode_or_refuse(source, max_pixels, large_lock or _one_large)
    except ImageError as error:
        clear_frames(error, outside)  # a caller may keep it, and the pixels with it
        raise


def _decode_or_refuse(source: Picture, max_pixels: int | None, large_lock: AbstractContextManager[Any]) -> Image.Image:
    """Decodes an image as ``open_image`` does; every failure is an ``ImageError``."""
    try:
        with _no_warnings:
            return _decode(source, max_pixels, large_lock)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(describe_bomb(error)) from error
    except MemoryError as error:
        raise ImageError("the picture needs more memory than is available") from error
    except Exception as error:
        if isinstance(source, Image.Image) and _means_closed(error, source):
            raise ImageError(
                "the image or its file is closed: pass it before it is closed, inside its 'with'"
            ) from error
        # Pillow's decoders raise exceptions of many types (OSError, SyntaxError, struct.error, ...): for untrusted bytes,
        # each of them means a damaged file.
        raise ImageError(f"damaged or truncated picture ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _means_closed(error: Exception, image: Image.Image) -> bool:
    """Returns whether an error of a Pillow image means that it was closed; where a ``with`` did that, Pillow lacks a message."""
    without_file = isinstance(error, AssertionError | AttributeError) and getattr(image, "fp", image) is None
    return without_file or (isinstance(error, ValueError) and "closed" in str(error))


def is_picture(value: object) -> bool:
    """Returns whether a value is one picture, even though some of these can be iterated: over rows, lines or characters."""
    if isinstance(value, np.ndarray):
        return value.ndim > 1 and value.shape[2:] in _CHANNELS
    return isinstance(value, Image.Image | str | os.PathLike | bytes) or hasattr(value, "read")


def _decode(source: Picture, max_pixels: int | None, large_lock: AbstractContextManager[Any]) -> Image.Image:
    if isinstance(source, np.ndarray):
        source = _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        data = _undecoded_file(source)
        if not data:
            return _load(source, b"", max_pixels, large_lock)
    else:
        data = _read(source)
    refuse_large_icon(data, max_pixels)
    try:
        return _load(_open(data), data, max_pixels, large_lock)
    except (OSError, SyntaxError) as error:
        if unread := describe_jpeg(data):  # only now: which kinds are read depends on Pillow's version of libjpeg-turbo
            raise ImageError(unread) from error
        raise


def _undecoded_file(image: Image.Image) -> bytes:
    """Returns the file of an image that Pillow has opened, but not decoded; no bytes for any other image.

    Decoded from its file, it has the limits of files, and the caller's image takes no memory. Another frame of an animation
    than the first is decoded by the caller's image.
    """
    waits = bool(getattr(image, "tile", ())) or (image.format == "ICNS" and getattr(image, "_im", image) is None)
    file = getattr(image, "fp", None)
    if file is None or not waits or image.tell():
        return b""
    position = file.tell()
    file.seek(0)
    try:
        return _read(file)
    finally:
        file.seek(position)


def _load(
    image: Image.Image, data: bytes, max_pixels: int | None, large_lock: AbstractContextManager[Any]
) -> Image.Image:
    """Decodes the pixels of an opened image; ``data`` is its file, if there is one."""
    refuse_too_much(image, max_pixels, data=data)
    if data:
        if has_lost_end(data, image.format):
            raise ImageError(LOST_END)
        _reduce(image)
    if image.format == "TIFF":
        prepare_tiff(image)
    if isinstance(file := getattr(image, "fp", None), Metered):
        file.allow_decoding(image)
    with large_lock if image.width * image.height > _LARGE_PIXELS else nullcontext():
        try:
            image.load()
        except OSError as error:
            if image.format == "TIFF":
                raise ImageError(f"{UNREADABLE_TIFF} ({error})") from error
            if image.format != "JPEG" or not data:
                raise
            image = _load_without_end(data)
        if image.format == "JPEG" and _ends_with_zeros(data):
            image = _load_without_end(data.rstrip(b"\0"))
        if image.format == "TIFF":
            refuse_wrapped(image)
        if image.format == "TGA" and image.mode == "RGBA" and data and not data[17] & 15:
            image = image.convert("RGB")  # no bit of the fourth byte is opacity (TGA 2.0, field 5.6)
        return to_8_bits(upright(shrink_large(image)))


def _reduce(image: Image.Image) -> None:
    """Sets the scale at which a JPEG is decoded; see ``DRAFT_SIDE``."""
    if image.format == "JPEG" and min(image.size) > DRAFT_SIDE:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))


def _from_array(pixels: np.ndarray, max_pixels: int | None) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim < 2 or pixels.shape[2:] not in _CHANNELS or 0 in pixels.shape:
        advice = "; scale floats in 0..1 with (255 * x).round().astype('uint8')" if pixels.dtype.kind == "f" else ""
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise ImageError(f"an array must be uint8 [H, W], [H, W, 3] or [H, W, 4], not {found}{advice}")
    height, width = pixels.shape[:2]
    refuse_size((width, height), max_pixels)  # before Pillow copies it: a view may be far larger than its memory
    return Image.fromarray(pixels)


def _read(source: str | os.PathLike[str] | bytes | BinaryReader) -> bytes:
    try:
        data = _read_any(source)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a path or a file object may be of any class of the caller
        reason = reason_of(error) if isinstance(error, OSError | ValueError) else _one_line(error)
        raise ImageError(f"cannot be read: {reason}") from error
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES >> 20} MiB: refused")
    return data


def _read_any(source: str | os.PathLike[str] | bytes | BinaryReader) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_path(source)
    if hasattr(source, "read"):
        return _read_file_object(source)
    raise ImageError(
        "a picture is a Pillow image, a uint8 array, a path, a file's bytes or a binary file object; "
        f"not {type(source).__name__}"
    )


def _read_file_object(source: BinaryReader) -> bytes:
    try:
        binary = isinstance(source.read(0), bytes)
    except io.UnsupportedOperation:  # opened for writing alone
        binary = False
    if not binary:
        raise ImageError("a file object must be opened for reading in binary mode: open(path, 'rb')")
    data = read_at_most(source, MAX_BYTES)
    if not data and _is_past_start(source):
        raise ImageError("the file object is at its end: call its method seek(0) after writing or reading it")
    return data


def _is_past_start(file: BinaryReader) -> bool:
    tell = getattr(file, "tell", None)
    with suppress(OSError):  # a pipe has no position
        return tell is not None and tell() > 0
    return False


def _read_path(path: str | os.PathLike[str]) -> bytes:
    if os.fspath(path) == "-":
        return read_at_most(standard_input(), MAX_BYTES)
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a str need not become a Path on the hot path)
            return read_at_most(file, MAX_BYTES, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        if not os.fspath(path):
            raise ImageError("cannot be read: the path is empty") from error
        cause = None if os.path.exists(path) else describe_missing(os.fsdecode(path))  # noqa: PTH110
        raise ImageError(f"cannot be read: {reason_of(error)}{f' ({cause})' if cause else ''}") from error


def _open(data: bytes) -> Image.Image:
    """Reads the header. JPEG and PNG are recognized here, so that Pillow does not import its other decoders for them."""
    refuse_many_pieces(data)
    if is_raw(data):  # Pillow would read its preview
        raise ImageError(RAW_FILE)
    if starts_with_thumbnail(data):
        raise ImageError(THUMBNAIL_FIRST)
    if data.startswith(b"\xff\xd8\xff"):  # also MPO, a JPEG with several images: the first one is the photo
        from PIL.JpegImagePlugin import JpegImageFile

        image = JpegImageFile(Metered(data))
        image.decodermaxblock = len(data)  # a single block: Pillow copies the unread rest of every block
        return image
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile

        if data[12:16] == b"CgBI":
            raise ImageError(APPLE_PNG)
        return PngImageFile(Metered(drop_long_text(data)))
    try:
        return Image.open(Metered(drop_comments(data)))
    except UnidentifiedImageError as error:
        if heif_is_readable(data):
            return _open_heif(data)
        raise ImageError(describe_unsupported(data)) from error


def _open_heif(data: bytes) -> Image.Image:
    try:
        return Image.open(Metered(data))
    except UnidentifiedImageError as error:
        raise ImageError("a damaged or truncated HEIC photo") from error


def _ends_with_zeros(data: bytes) -> bool:
    """Returns whether a JPEG has zeros in place of its end marker.

    The rest of an interrupted copy is filled with them, and decoders take them as blocks.
    """
    return data.endswith(bytes(16)) and all(kind != JPEG_END for kind, _ in jpeg_markers(data))


def _load_without_end(data: bytes) -> Image.Image:
    """Decodes a JPEG that lacks only the end marker, which some cameras omit.

    The file is decoded with three different endings. If compressed blocks are missing, their pixels depend on the ending.

    Raises:
        OSError: Compressed blocks are missing, too.
    """
    decoded = []
    for ending in (b"", b"\x55" * 64, b"\xaa" * 64):
        image = _open(data.removesuffix(b"\xff") + ending + b"\xff\xd9")
        _reduce(image)
        image.load()
        decoded.append(image)
    if any(image.tobytes() != decoded[0].tobytes() for image in decoded[1:]):
        raise OSError("image file is truncated")
    return decoded[0]


class _NoWarnings:
    """Context manager that suppresses Pillow's warnings about irregular files.

    ``warnings.catch_warnings`` alone is not thread-safe.
    """

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


_no_warnings = _NoWarnings()


def _renew_locks() -> None:
    """Makes new locks in a forked process: a thread that only the parent has may hold the copies."""
    global _one_large, _no_warnings
    _one_large, _no_warnings = threading.Lock(), _NoWarnings()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
