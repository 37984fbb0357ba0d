"""IDX, the file format of MNIST: a header of big-endian 32-bit integers, then bytes (LeCun, "The MNIST database")."""

import gzip
import hashlib
import struct
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fmnist_runtime.errors import DataError
from fmnist_train.files import write_atomically

__all__ = ["find_idx", "read_idx", "write_idx"]

_UINT8 = 0x08
_KINDS = {1: "labels", 3: "images"}
_LIMIT = 2**31
"""Bytes; a header that promises more is taken for damage before any memory is claimed."""


def find_idx(folder: Path, name: str) -> Path | None:
    """The file ``name`` or ``name.gz`` in a folder, plain before compressed; None where there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, dimensions: int) -> tuple[np.ndarray, str]:
    """Read an IDX file of bytes, gzipped if its name ends in ``.gz``.

    Args:
        path: the file.
        dimensions: 1 for labels ``[N]``, 3 for images ``[N, H, W]``.

    Returns:
        The array (uint8, writeable), and the SHA-256 of the decompressed file in hexadecimal.

    Raises:
        DataError: unreadable, damaged, truncated, too long, or of another kind than asked for.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return _read(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, the file is damaged or incomplete ({error})") from error


def _read(file: BinaryIO, path: Path, dimensions: int) -> tuple[np.ndarray, str]:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] != _UINT8:
        raise DataError(f"{path}: not an IDX file of bytes; download it again")
    if header[3] != dimensions:
        found = _KINDS.get(header[3], f"{header[3]} dimensions")
        raise DataError(f"{path}: holds {found}, not {_KINDS[dimensions]}; the files may be swapped")
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: truncated inside its header; download it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if prod(shape) > _LIMIT:
        raise DataError(f"{path}: its header promises {shape} bytes, which no such file holds; download it again")
    array = np.empty(shape, np.uint8)
    got = file.readinto(memoryview(array).cast("B")) if array.size else 0
    if got != array.size or file.read(1):
        found = f"only {got:,}" if got < array.size else "more"
        raise DataError(f"{path}: its header promises {array.size:,} bytes, it holds {found}; download it again")
    digest = hashlib.sha256(header)
    digest.update(array)
    return array, digest.hexdigest()


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 ``[N]`` or ``[N, H, W]``, gzipped if the name ends in ``.gz``; equal arrays, equal bytes."""
    header = bytes((0, 0, _UINT8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + np.ascontiguousarray(array, np.uint8).tobytes()
    write_atomically(path, gzip.compress(content, compresslevel=9, mtime=0) if path.suffix == ".gz" else content)
