"""Comparison images: a photo beside the network's 28×28 input, enlarged."""

import io
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fmnist_runtime.errors import FmnistError
from fmnist_runtime.files import write_atomically

__all__ = ["ComparisonFolder", "comparison_writer", "side_by_side", "write_comparison"]

_SIDE = 280
"""Side of each half of the image in pixels: ten for each pixel of the network's input."""


def comparison_writer(folder: str | Path) -> Callable[[Any, Image.Image, np.ndarray], None]:
    """Returns a callback for ``Classifier.results`` that writes each photo beside the network's input into a folder."""
    return lambda path, image, network_input: write_comparison(image, network_input, Path(folder), str(path))


class ComparisonFolder:
    """Callback as of ``comparison_writer``, which keeps the first failure and then writes nothing more.

    Args:
        folder: See ``comparison_writer``.

    Attributes:
        failure: Why the first image that could not be written was not; None without a failure.
    """

    def __init__(self, folder: Path) -> None:
        self._write = comparison_writer(folder)
        self.failure: FmnistError | None = None

    def __call__(self, path: Any, image: Image.Image, network_input: np.ndarray) -> None:
        """Writes one comparison image."""
        if self.failure is None:
            try:
                self._write(path, image, network_input)
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
    """Writes ``side_by_side`` as a PNG into a folder, whole or not at all.

    Args:
        photo: Decoded photo.
        network_input: Network input, uint8 ``[28, 28]``.
        folder: Folder for the file; created if it does not exist.
        name: Path of the photo, from which the file name is derived.

    Raises:
        FmnistError: The folder cannot be written.
    """
    file = io.BytesIO()
    side_by_side(photo, network_input).save(file, "PNG")
    target = folder / f"{_stem(name)}.png"
    try:
        write_atomically(target, file.getvalue())
    except OSError as error:
        raise FmnistError(f"--show: cannot write {target}: {error.strerror or error}") from error


def _stem(name: str) -> str:
    stem = re.sub(r"[^\w.-]+", "_", name).strip("_.-") or "stdin"
    if len(stem.encode()) > 200:  # file systems allow names of 255 bytes
        stem = stem[-40:]
    # Different paths may give the same stem; a checksum of the path keeps their files apart.
    return stem if stem == name else f"{stem}_{zlib.crc32(os.fsencode(name)):08x}"
