"""Tones of every kind of picture arrive as they were meant."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.pipeline import to_network_input


def reopened(image: Image.Image, kind: str = "TIFF", **options: object) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return np.asarray(open_image(file.getvalue())).astype(int)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_files_of_cameras_with_fewer_bits(white: int, kind: str) -> None:
    found = reopened(Image.fromarray(np.rint(RAMP * white).astype(np.uint16)), kind)
    assert np.abs(found - RAMP * 255).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1), (-1e30, 1e30), (5e5, 9e5)])
def test_floats_of_any_range(low: float, high: float) -> None:
    found = reopened(Image.fromarray((low + RAMP * (high - low)).astype(np.float32)))
    assert np.abs(found - RAMP * 255).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 1.0001), (-0.02, 1.02), (0, 1.5), (0, 12)])
def test_floats_a_little_over_one_are_not_black(low: float, high: float) -> None:
    """Resizing overshoots, and highlights of a scene are brighter than its white."""
    values = low + RAMP * (high - low)
    found = reopened(Image.fromarray(values.astype(np.float32)))
    assert np.abs(found - values.clip(0, 1) * 255).max() <= 1


def test_what_is_no_number_is_black() -> None:
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    found = reopened(Image.fromarray(values))
    assert found[0, :3].tolist() == [0, 0, 0] and found[-1, -1] == 255
    assert reopened(Image.fromarray(np.full((4, 4), np.nan, np.float32))).max() == 0


def test_one_bit() -> None:
    bits = (np.indices((9, 7)).sum(axis=0) % 2).astype(bool)
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert np.array_equal(reopened(Image.fromarray(bits), kind).reshape(9, 7, -1)[..., 0], bits * 255)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind: str) -> None:
    color = Image.new("RGB", (16, 16), (250, 60, 30))
    assert np.abs(reopened(color.convert("CMYK"), kind) - [250, 60, 30]).max() < 40


def test_lab_keeps_its_lightness() -> None:
    lightness = Image.fromarray(np.rint(RAMP * 255).astype(np.uint8))
    flat = Image.new("L", (8, 8), 128)
    assert np.abs(reopened(Image.merge("LAB", (lightness, flat, flat))) - RAMP * 255).max() <= 1


def test_palettes_with_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((0, 0), 0)
    found = reopened(image, "PNG", transparency=0)
    assert found[0, 0, 3] == 0 and found[1, 1].tolist() == [200, 100, 50, 255]
    shares = reopened(image, "PNG", transparency=bytes([0, 128]))
    assert shares[1, 1].tolist() == [200, 100, 50, 128]


def test_palettes_whose_colors_have_alpha() -> None:
    image = Image.new("RGBA", (40, 40))
    image.paste((200, 100, 50, 255), (10, 10, 30, 30))
    found = np.asarray(open_image(image.quantize(8)))
    assert found[0, 0, 3] == 0 and found[20, 20].tolist() == [200, 100, 50, 255]
    assert np.array_equal(to_network_input(image.quantize(8)), to_network_input(image))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_many(kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue", "green")]
    found = reopened(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(found[20, 20, :3] - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation(orientation: int, kind: str) -> None:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[:24, :32] = 255  # the upper left quarter
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = reopened(Image.fromarray(pixels).convert("RGB"), kind, exif=exif)[..., 0]
    # EXIF 2.32, 4.6.4: which corner of the scene the file's first row and column hold
    row, column = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (1, 0)][orientation - 1]
    assert found.shape == ((48, 64) if orientation < 5 else (64, 48))
    quarters = found.reshape(2, found.shape[0] // 2, 2, found.shape[1] // 2).mean(axis=(1, 3))
    assert quarters[row, column] > 240 and np.sort(quarters.ravel())[2] < 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_in_xmp_is_ignored_as_by_browsers(kind: str) -> None:
    """Tools that turn the pixels may remove the EXIF tag, and keep the one in XMP."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, object] = {"xmp": xmp}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": text}
    assert reopened(Image.new("RGB", (40, 20), "red"), kind, **options).shape[:2] == (20, 40)


def test_sixteen_bits_turn_too_and_only_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.arange(50, dtype=np.uint16).reshape(5, 10) * 1000).save(file, "PNG", exif=exif)
    once = open_image(file.getvalue())
    assert once.size == (5, 10) and open_image(once).size == (5, 10)


def test_damaged_exif_data_lose_no_picture() -> None:
    found = reopened(Image.new("RGB", (20, 10), "red"), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff" + b"\xff" * 40)
    assert found.shape == (10, 20, 3)


def test_a_picture_that_is_already_open_is_not_changed() -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 1500), "red").save(file, "JPEG")
    picture = Image.open(file)
    open_image(picture)
    assert picture.size == (2000, 1500)
