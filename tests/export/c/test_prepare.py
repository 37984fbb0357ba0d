"""``fmnist_prepare_grey``: finds a garment on a plain background in frames of any size, with integers."""

import ctypes
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

Prepare = Callable[[np.ndarray], tuple[int, np.ndarray]]
WRAPPER = """#include "fmnist_prepare.h"
int prepare(const uint8_t *p, int w, int h, int stride, uint8_t *image);
int prepare(const uint8_t *p, int w, int h, int stride, uint8_t *image)
{ return fmnist_prepare_grey(p, w, h, (size_t)stride, image); }
"""


@pytest.fixture
def prepare(tmp_path: Path, need: Callable[[str], str]) -> Prepare:
    (tmp_path / "x.c").write_text(WRAPPER)
    folder = resources.files("fmnist_export.c") / "templates"
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    flags += ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-static-libubsan"]
    subprocess.run(
        [need("gcc"), *flags, f"-I{folder}", str(tmp_path / "x.c"), "-o", str(tmp_path / "x.so")], check=True
    )
    library = ctypes.CDLL(str(tmp_path / "x.so"))

    def call(frame: np.ndarray) -> tuple[int, np.ndarray]:
        image = np.full((28, 28), 7, np.uint8)
        height, width = frame.shape
        places = [array.ctypes.data_as(ctypes.c_void_p) for array in (frame, image)]
        return library.prepare(places[0], width, height, frame.strides[0], places[1]), image

    return call


def frame_of(height: int, width: int, background: int, garment: int, noise: int = 0) -> np.ndarray:
    """A garment twice as high as wide, with a brighter spot inside and a speck beside it."""
    frame = np.full((height, width), background, np.int16)
    frame[height // 4 : 3 * height // 4, 3 * width // 8 : 5 * width // 8] = garment
    frame[height // 2 : height // 2 + height // 16, width // 2 : width // 2 + width // 16] = background
    frame[height // 16 : height // 12, : width // 12] = garment
    frame += np.random.default_rng(0).integers(-noise, noise + 1, frame.shape, dtype=np.int16)
    return frame.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(96, 96), (240, 240), (1000, 1000)])
@pytest.mark.parametrize(("background", "garment", "noise"), [(255, 60, 0), (240, 200, 4), (120, 30, 6), (90, 220, 6)])
def test_finds_the_garment(size: tuple[int, int], background: int, garment: int, noise: int, prepare: Prepare) -> None:
    status, image = prepare(frame_of(*size, background, garment, noise))
    assert status == 0
    columns = np.flatnonzero(image.any(axis=0))
    assert image.any(axis=1).all()  # fills the height
    assert abs(columns[0] + columns[-1] - 27) <= 2  # centered
    assert abs(len(columns) - 14) <= 2
    assert image.max() == 255
    assert image[14, 12:17].all()  # the spot inside belongs to it


def test_reads_rows_with_a_stride(prepare: Prepare) -> None:
    wide = np.zeros((120, 200), np.uint8)
    wide[:, :120] = frame_of(120, 120, 250, 50)
    _, expected = prepare(frame_of(120, 120, 250, 50))
    _, found = prepare(wide[:, :120])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "frame",
    [
        np.full((64, 64), 200, np.uint8),
        *(np.zeros(size, np.uint8) for size in ((5, 300), (1, 1), (0, 0), (0, 9), (9, 0))),
    ],
)
def test_empty_frames(frame: np.ndarray, prepare: Prepare) -> None:
    status, image = prepare(frame)
    assert status == 1
    assert not image.any()


def test_any_size(prepare: Prepare) -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        height, width = (int(v) for v in random.integers(1, 200, 2))
        status, image = prepare(random.integers(0, 256, (height, width), dtype=np.uint8))
        assert status in (0, 1)
        assert bool(image.any()) == (status == 0)
