"""Any picture becomes 28×28 bytes, or one clear error."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.sources import find_images
from fmnist_runtime.preprocessing.pipeline import to_network_input

EXAMPLES = Path(__file__).parents[3] / "examples"
MODES = [
    "1",
    "L",
    "LA",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
    "I;16",
    "PA",
    "La",
    "RGBa",
    "RGBX",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent() -> None:
    """The thread decodes a large picture, or is between its warnings, at the moment of the fork."""
    code = """
import os
from PIL import Image
from fmnist_runtime.image_io import decode

with decode._one_large, decode._no_warnings._lock:
    child = os.fork()
    if not child:
        os._exit(decode.open_image(Image.new("L", (4100, 4100))).size != (1025, 1025))
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (300, 200), (2, 900), (900, 2), (4000, 30)])
def test_any_mode_and_size(mode: str, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 30, 60))
    for step in {"I;16": ("L", "I;16"), "PA": ("P", "PA"), "La": ("LA", "La"), "RGBa": ("RGBA", "RGBa")}.get(
        mode, (mode,)
    ):
        image = image.convert(step) if step != "LAB" else Image.merge("LAB", image.split())
    opened = open_image(image)
    assert opened.mode in ("L", "RGB", "RGBA") and max(opened.size) <= 2048
    seen = to_network_input(opened)
    assert seen.shape == (28, 28) and seen.dtype == np.uint8


def test_the_data_sets_own_format_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    for mode in ("L", "RGB"):
        Image.fromarray(pixels).convert(mode).save(tmp_path / "x.png")
        assert np.array_equal(to_network_input(open_image(tmp_path / "x.png")), pixels)


@pytest.mark.parametrize(("background", "garment"), [(255, 30), (10, 220), (128, 250), (250, 200)])
def test_the_garment_is_light_on_black(background: int, garment: int) -> None:
    pixels = np.full((200, 160, 3), background, np.uint8)
    pixels[40:160, 50:110] = (garment, garment // 2 + 20, garment // 3)
    seen = to_network_input(Image.fromarray(pixels))
    assert seen[:, :4].max() == 0 and seen[:, -4:].max() == 0  # twice as high as wide: ground at the sides
    assert seen[5:23, 9:19].min() > 100


def test_transparent_pixels_are_background() -> None:
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[20:80, 20:80, 3] = 255  # black garment, black but transparent background
    assert to_network_input(Image.fromarray(pixels)).min() > 200
    pixels[20:80, 20:40, 3] = 0
    assert to_network_input(Image.fromarray(pixels))[:, :3].max() == 0


def test_exif_orientation(tmp_path: Path) -> None:
    upright = Image.open(EXAMPLES / "trouser.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    turned, straight = (to_network_input(open_image(tmp_path / n)) for n in ("turned.png", "upright.png"))
    assert np.array_equal(turned, straight)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageError):
        open_image(tmp_path / "x.png")


def test_missing_folder_and_truncated(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(tmp_path)
    data = (EXAMPLES / "dress.jpg").read_bytes()
    with pytest.raises(ImageError, match="truncated"):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_closed_image_is_not_called_damaged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind.lower()}"
    Image.new("RGB", (40, 40)).save(path)
    with Image.open(path) as after_with:
        pass
    with path.open("rb") as file:
        without_file = Image.open(file)
    closed = [Image.open(path), Image.new("RGB", (40, 40))]
    for image in closed:
        image.close()
    for image in (after_with, without_file, *closed):
        with pytest.raises(ImageError, match="is closed"):
            open_image(image)
    with Image.open(path) as loaded:
        loaded.load()
    assert open_image(loaded).size == (40, 40), "Pillow closes only the file of a loaded image"


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a/x.txt", "a/3.webp", "4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)]
    assert found == ["4.png", "a/3.webp", "b/1.JPG", "b/2.png"]
