"""AVIF: the frames in a file may be larger than the size that it states."""

import io
import re
import struct

import pytest
from PIL import Image, features

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io import avif, limits
from fmnist_runtime.image_io.av1 import Frame, read_coded_frames
from fmnist_runtime.image_io.avif import decoded_bytes, read_frames
from fmnist_runtime.image_io.decode import open_image

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", speed=10, **options)
    return file.getvalue()


def stating(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its boxes `ispe`."""
    return re.sub(rb"ispe\0{4}.{8}", b"ispe" + struct.pack(">3L", 0, width, height), data, flags=re.DOTALL)


def packed(*fields: tuple[int, int]) -> bytes:
    """Bytes of pairs of a value and its number of bits, and zeros up to 64 bytes."""
    text = "".join(f"{value:0{bits}b}" for value, bits in fields if bits)
    return int(text.ljust(512, "0"), 2).to_bytes(64)


@needs_avif
@pytest.mark.parametrize(
    ("subsampling", "size"), [("4:2:0", 1.5), ("4:2:2", 2.0), ("4:4:4", 3.0), ("4:0:0", 1.0)], ids=str
)
def test_frames_have_the_size_and_colors_of_their_headers(subsampling: str, size: float) -> None:
    photo = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
    assert read_frames(saved(photo, subsampling=subsampling)) == [Frame((70, 50), size)]


@needs_avif
def test_transparency_and_animations_have_frames_of_their_own() -> None:
    photo = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
    transparent = photo.convert("RGBA")
    transparent.putalpha(photo.convert("L"))
    assert read_frames(saved(transparent)) == [Frame((70, 50), 1.5), Frame((70, 50), 1.0)]
    moving = saved(photo, save_all=True, append_images=[photo.rotate(9)] * 3)
    assert {*read_frames(moving)} == {Frame((70, 50), 1.5)} and len(read_frames(moving)) <= 2


@needs_avif
def test_a_frame_larger_than_the_stated_size_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stating(saved(Image.new("RGB", (300, 200))), 30, 20)
    assert open_image(data).size == (30, 20)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 120_000)
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"300×200 pixels is over the limit of .*: refused as a decompression bomb"):
        open_image(data)


def test_the_memory_counts_frames_copies_and_the_image() -> None:
    small = decoded_bytes([Frame((1000, 1000), 3)], (1000, 1000), transparent=False)
    assert decoded_bytes([Frame((1000, 1000), 6)], (1000, 1000), transparent=False) == small + 3e6
    tiles = [Frame((500, 500), 3)] * 4
    assert decoded_bytes(tiles, (1000, 1000), transparent=False) == small + 3e6  # they are joined in a copy
    assert decoded_bytes([Frame((9000, 1000), 3)], (1000, 1000), transparent=False) > small + 8 * 3e6


@pytest.mark.parametrize("override", [0, 1])
def test_a_frame_header_may_state_another_size(override: int) -> None:
    """All optional fields of AV1, 5.5 and 5.9, as no program writes them."""
    timing = [(1, 1), (1, 32), (1, 32), (0, 1), (1, 1), (9, 5), (1, 32), (9, 5), (14, 5)]  # 15 bits of a frame's time
    point = [(0, 12), (8, 5), (1, 1), (1, 1), (0, 21), (1, 1), (5, 4)]
    size = [(10, 4), (9, 4), (1199, 11), (799, 10)]
    ids = [(1, 1), (6, 4), (2, 3)]  # 11 bits
    tools = [(0, 3), (0, 4), (1, 1), (0, 2), (1, 1), (1, 1), (6, 3), (0, 3)]
    colors = [(1, 1), (1, 1), (0, 1), (1, 1), (9, 24), (0, 1), (1, 1), (0, 1), (0, 1)]  # profile 2: 12 bits, 4:2:2
    grain = [(1, 1)]
    head = [(2, 3), (0, 1), (0, 1), *timing, (1, 1), (0, 5), *point]
    sequence = b"\x0a\x40" + packed(*head, *size, *ids, *tools, *colors, *grain)
    frame = packed((0, 1), (0, 2), (1, 1), (0, 15), (0, 1), (1, 1), (0, 1), (0, 11), (override, 1), (override ^ 1, 1))
    shown_again = b"\x1a\x40" + packed((1, 1), (0, 3), (2**30 - 1, 30))
    units = memoryview(b"\x12\0" + sequence + b"\x1a\x40" + frame + shown_again)
    expected = Frame((2048, 1024) if override else (1200, 800), 8.0)
    assert list(read_coded_frames(units, lambda: None)) == [expected]


def test_headers_without_end_and_without_frames() -> None:
    for units in (b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x1a\1\0", b"\x3c", b"\x0a\0"):
        assert list(read_coded_frames(memoryview(units), lambda: None)) == []
    for data in (
        b"",
        b"\0\0\0\x20ftypavif",
        b"\0\0\0\x14meta" + bytes(4) + b"\0\0\0\x08iloc",
        b"\0\0\0\1meta" + bytes(8),
    ):
        with pytest.raises(ImageError, match="damaged or truncated AVIF"):
            read_frames(data)


def test_many_parts_take_bounded_time_and_memory() -> None:
    items = b"\0\0\0\0\x44\0" + struct.pack(">H", 65535)
    scattered = items + b"\0\1\0\0\0\3" + struct.pack(">2L", 0, 1 << 25) * 3
    for content, message in (
        (items + b"\0\1\0\0\xff\xff" * 65535, "small parts"),
        (scattered, "scattered"),
    ):
        data = struct.pack(">L4sLL4s", len(content) + 20, b"meta", 0, len(content) + 8, b"iloc") + content
        with pytest.raises(ImageError, match=message):
            read_frames(data.ljust(1 << 25, b"\0"))
    with pytest.raises(ImageError, match="small parts"):
        read_frames(b"\0\0\0\x08free" * (avif._MAX_PARTS + 1))
