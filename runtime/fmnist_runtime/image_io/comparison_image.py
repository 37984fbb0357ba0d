"""Comparison images: a photo beside the network's 28×28 input, enlarged."""

import io
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fmnist_runtime.errors import FmnistError, reason_of
from fmnist_runtime.files import write_atomically

__all__ = ["ComparisonFolder", "side_by_side", "write_comparison"]

_SIDE = 280
"""Side of each half of the image in pixels: ten for each pixel of the network's input."""
_KEYWORD, _VALUE = "Software", "fmnist-infer --show"
"""Text chunk that marks our own images (PNG specification, 11.3.3.2). Pillow writes it behind the header."""
_MARK_BYTES = 100
"""Bytes of a file that hold the chunk: signature and header have 33, and it has 40."""


class ComparisonFolder:
    """Callback for ``Classifier.results`` that writes each photo beside the network's input into a folder.

    After the first failure it writes nothing more.

    Args:
        folder: Folder for the images; created if it does not exist.

    Attributes:
        folder: The folder.
        failure: Why the first image that could not be written was not; None without a failure.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.failure: Exception | None = None

    def __call__(self, path: Any, image: Image.Image, network_input: np.ndarray) -> None:
        """Writes one comparison image."""
        if self.failure is None:
            try:
                write_comparison(image, network_input, Path(self.folder), str(path))
            except FmnistError as error:
                self.failure = error


def side_by_side(photo: Image.Image, network_input: np.ndarray) -> Image.Image:
    """Draws the photo, shrunk to 280 pixels, on the left and the network's input uint8 ``[28, 28]`` on the right."""
    left = photo.convert("RGB")
    left.thumbnail((_SIDE, _SIDE))
    canvas = Image.new("RGB", (2 * _SIDE + 8, _SIDE), "white")
    canvas.paste(left, ((_SIDE - left.width) // 2, (_SIDE - left.height) // 2))
    canvas.paste(Image.fromarray(network_input).resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (_SIDE + 8, 0))
    return canvas


def write_comparison(photo: Image.Image, network_input: np.ndarray, folder: Path, name: str) -> None:
    """Writes ``side_by_side`` as a PNG into a folder, whole or not at all; replaces only what this function has written.

    Args:
        photo: Decoded photo.
        network_input: Network input, uint8 ``[28, 28]``.
        folder: Folder for the file; created if it does not exist.
        name: Path of the photo, from which the file name is derived.

    Raises:
        FmnistError: The folder cannot be written, or has another program's file of the same name.
    """
    file, mark = io.BytesIO(), PngInfo()
    mark.add_text(_KEYWORD, _VALUE)
    side_by_side(photo, network_input).save(file, "PNG", pnginfo=mark)
    target = folder / f"{_stem(name)}.png"
    try:
        if target.is_file() and not _is_own(target):
            raise FmnistError(
                f"--show: {target} is of another program or an earlier version: remove it, or name another folder"
            )
        write_atomically(target, file.getvalue())
    except OSError as error:
        raise FmnistError(f"--show: cannot write {target}: {reason_of(error)}") from error


def _is_own(path: Path) -> bool:
    with path.open("rb") as file:
        return f"{_KEYWORD}\0{_VALUE}".encode() in file.read(_MARK_BYTES)


def _stem(name: str) -> str:
    stem = re.sub(r"[^\w.-]+", "_", name).strip("_.-") or "stdin"
    if len(stem.encode()) > 200:  # file systems allow names of 255 bytes
        stem = stem[-40:]
    # Different paths may give the same stem; a checksum of the path keeps their files apart.
    return stem if stem == name else f"{stem}_{zlib.crc32(os.fsencode(name)):08x}"
