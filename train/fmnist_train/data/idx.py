"""IDX, the file format of MNIST: a header of big-endian 32-bit integers, then bytes (LeCun, "The MNIST database")."""

import gzip
import hashlib
import struct
from io import BufferedReader
from math import prod
from pathlib import Path

import numpy as np

from fmnist_runtime.errors import DataError
from fmnist_runtime.files import write_atomically
from fmnist_train.files import UNPACKED_LIMIT, open_unpacked

__all__ = ["idx_sha256", "read_idx", "write_idx"]

_UINT8 = 0x08
_KINDS = {1: "labels", 3: "images"}
_PIECE = 1 << 22
"""Bytes read at a time."""


def read_idx(path: Path, dimensions: int) -> tuple[np.ndarray, str]:
    """Reads an IDX file of bytes, gzipped or not.

    Args:
        path: The file.
        dimensions: 1 for labels ``[N]``, 3 for images ``[N, H, W]``.

    Returns:
        The array (uint8, writeable), and the SHA-256 of the decompressed file in hexadecimal.

    Raises:
        DataError: The file is unreadable, damaged, truncated or too long, or has other dimensions.
    """
    with open_unpacked(path) as file:
        return _read(file, path, dimensions)


def _read(file: BufferedReader, path: Path, dimensions: int) -> tuple[np.ndarray, str]:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] != _UINT8:
        raise DataError(f"{path}: not an IDX file of bytes; download it again")
    if header[3] != dimensions:
        found = _KINDS.get(header[3], f"{header[3]} dimensions")
        raise DataError(f"{path}: holds {found}, not {_KINDS[dimensions]}; the files may be swapped")
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: truncated inside its header; download it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if prod(max(side, 1) for side in shape) > UNPACKED_LIMIT:  # numpy refuses the shape also with no image
        raise DataError(f"{path}: its header states {shape} bytes, too many for this data set; download it again")
    pixels, size = _read_pixels(file, prod(shape)), prod(shape)
    if len(pixels) != size:
        found = f"only {len(pixels):,}" if len(pixels) < size else "more"
        raise DataError(f"{path}: its header states {size:,} bytes, and it holds {found}; download it again")
    array = np.frombuffer(pixels, np.uint8).reshape(shape)
    return array, idx_sha256(array)


def _read_pixels(file: BufferedReader, size: int) -> bytearray:
    """Reads at most ``size + 1`` bytes, in pieces, so that memory is bounded by the file and not by the size in its header."""
    pixels = bytearray()
    while piece := file.read(min(_PIECE, size + 1 - len(pixels))):
        pixels += piece
    return pixels


def idx_sha256(array: np.ndarray) -> str:
    """Returns the SHA-256, in hexadecimal, of the uncompressed IDX file of an array: uint8 ``[N]`` or ``[N, H, W]``."""
    digest = hashlib.sha256(_header(array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _header(array: np.ndarray) -> bytes:
    return bytes((0, 0, _UINT8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes uint8 ``[N]`` or ``[N, H, W]``, gzipped if the name ends in ``.gz``; equal arrays give equal files."""
    content = _header(array) + np.ascontiguousarray(array, np.uint8).tobytes()
    write_atomically(path, gzip.compress(content, compresslevel=9, mtime=0) if path.suffix == ".gz" else content)
