"""Files made to take minutes or gigabytes: refused before they do."""

import io
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io import limits
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.jpeg2000 import structure_bytes

EXAMPLES = Path(__file__).parents[3] / "examples"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff_of_strips(strips: int) -> bytes:
    """A gray TIFF one pixel wide, a strip for each row, all of them the same byte."""
    entries = [(256, 4, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tables = 8 + 2 + 12 * 9 + 4
    entries += [(273, 4, strips, tables), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, tables + 4 * strips)]
    header = struct.pack("<2sHLH", b"II", 42, 8, len(entries))
    directory = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return header + directory + bytes(4) + np.full(strips, 8, "<u4").tobytes() + np.ones(strips, "<u4").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_gigapixels_in_a_small_file(kind: str) -> None:
    small = saved(Image.new("1" if kind != "GIF" else "L", (64, 64)), kind)
    sizes = {"PNG": (16, ">2L"), "GIF": (6, "<2H"), "BMP": (18, "<2l")}
    if kind == "TIFF":
        data = saved(Image.new("1", (20000, 20000)), kind, compression="group4")
    else:
        offset, layout = sizes[kind]
        large = struct.pack(layout, 60000, 60000)
        data = small[:offset] + large + small[offset + len(large) :]
    if kind == "PNG":
        data = data[:29] + struct.pack(">L", zlib.crc32(data[12:29])) + data[33:]
    assert len(data) < 1_000_000
    with pytest.raises(ImageError, match=r"pixels is over the limit of [\d,]+: refused as a decompression bomb$"):
        open_image(data)


@pytest.mark.parametrize("kind", ["GIF", "PPM", "TGA", "PCX"])
def test_the_largest_sizes_have_the_same_message(kind: str) -> None:
    """Pillow refuses some of them before their size is known here."""
    small = saved(Image.new("L", (64, 64)), "GIF")
    sizes = {"GIF": small[:6] + b"\xff" * 4 + small[10:], "PPM": b"P5 65535 65535 255 "}
    sizes["TGA"] = bytes((0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)) + b"\xff" * 4 + bytes((8, 0))
    sizes["PCX"] = bytes((10, 5, 1, 8, 0, 0, 0, 0)) + b"\xfe\xff" * 2 + bytes(53) + b"\1\0\0" + bytes(58)
    with pytest.raises(ImageError, match=r"pixels is over the limit of [\d,]+: refused as a decompression bomb$"):
        open_image(sizes[kind] + bytes(1000))


def icon(kind: str, inner: bytes) -> bytes:
    """An icon file that states at most 128×128 pixels, whatever the picture in it is."""
    if kind == "ICO":
        return struct.pack("<3H4B2H2L", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(inner), 22) + inner
    return b"icns" + struct.pack(">L4sL", 16 + len(inner), b"ic07", 8 + len(inner)) + inner


@pytest.mark.parametrize(("kind", "inner"), [("ICO", "PNG"), ("ICO", "DIB"), ("ICNS", "PNG"), ("ICNS", "JPEG2000")])
def test_a_bomb_inside_an_icon(kind: str, inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is that of the picture in it, and Pillow decodes that of an ICO file when it opens the file."""
    small = icon(kind, saved(Image.new("RGB", (128, 128)), inner))
    assert open_image(small).size[0] == 128
    large = icon(kind, saved(Image.new("RGB", (2500, 1700)), inner))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="2500×1700 pixels is over the limit of 4,000,000: refused"):
        open_image(large)
    with pytest.raises(ImageError, match="pixels is over the limit of 10,000: send a smaller picture"):
        open_image(small, max_pixels=10_000)
    with pytest.raises(ImageError, match="a damaged or truncated icon"):
        open_image(icon(kind, b"nonsense" * 10))


def test_formats_that_contain_others_are_refused() -> None:
    jpeg = saved(Image.new("RGB", (3000, 3000)), "JPEG")
    sizes = struct.pack("<6L16L16LL", 0, 0, 100, 100, 5, 0, 1000, *[0] * 15, len(jpeg), *[0] * 15, 0)
    with pytest.raises(ImageError, match=r"BLP may contain a picture of another format .* convert it to PNG"):
        open_image((b"BLP1" + sizes).ljust(1000, b"\0") + jpeg)


@pytest.mark.parametrize("layout", ["<", ">"])
def test_a_tiff_of_giant_tiles(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole tile is unpacked, however small the image in it is; of repeated tags, libtiff takes the first."""
    packed = zlib.compress(bytes(1600 * 1600))
    entries = [(256, 4, 10), (257, 4, 10), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    entries += [(322, 4, 1600), (322, 4, 16), (323, 3, 1600), (324, 4, 8), (325, 4, len(packed))]
    data = (b"II*\0" if layout == "<" else b"MM\0*") + struct.pack(layout + "L", 8 + len(packed)) + packed
    data += struct.pack(layout + "H", len(entries))
    for tag, kind, value in entries:
        data += struct.pack(layout + "HHL", tag, kind, 1) + struct.pack(layout + "xHL"[kind - 2], value).ljust(4, b"\0")
    assert open_image(data + bytes(4)).size == (10, 10)
    with pytest.raises(ImageError, match="1600×1600 pixels is over the limit of 1,000,000: send a smaller picture"):
        open_image(data + bytes(4), max_pixels=1_000_000)
    monkeypatch.setattr(limits, "MAX_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="1600×1600 pixels is over the limit of 1,000,000: refused"):
        open_image(data + bytes(4))


def test_strips_of_ordinary_height_do_not_lower_the_limit() -> None:
    data = saved(Image.new("RGB", (300, 200)), "TIFF", compression="tiff_adobe_deflate", strip_size=9000)
    with Image.open(io.BytesIO(data)) as image:
        image._size = (10_000, 10_000)
        limits.refuse_too_much(image, data=data)


def jpeg_in_three_scans(side: int) -> bytes:
    """A baseline JPEG, gray, with a scan for each of its components."""
    frame = struct.pack(">BHHB", 8, side, side, 3) + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    codes = bytes((1, *[0] * 15, 0))  # a single one, of one bit, for no difference and for the end of a block
    segments = [(0xDB, b"\0" + b"\1" * 64), (0xC0, frame), (0xC4, b"\0" + codes), (0xC4, b"\x10" + codes)]
    segments += [(0xDA, bytes((1, number, 0, 0, 63, 0))) for number in (1, 2, 3)]
    blocks = bytes((side // 8) ** 2 // 4)
    parts = [struct.pack(">BBH", 255, kind, 2 + len(rest)) + rest + blocks * (kind == 0xDA) for kind, rest in segments]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


def test_a_baseline_jpeg_in_several_scans_is_kept_whole_in_memory() -> None:
    assert open_image(jpeg_in_three_scans(64)).size == (64, 64)
    with pytest.raises(ImageError, match="8800×8800 pixels is over the limit of 75,000,000: refused"):
        open_image(jpeg_in_three_scans(8800))


@pytest.mark.parametrize("closes", [False, True], ids=["file object", "path"])
def test_an_image_that_pillow_has_not_decoded_has_the_limits_of_its_file(closes: bool, tmp_path: Path) -> None:
    progressive = saved(Image.open(EXAMPLES / "shirt.jpg"), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    files = {
        "over the limit of 75,000,000": jpeg_in_three_scans(8800),
        "more than 100 scans": progressive[:-2] + progressive[last:-2] * limits.MAX_SCANS + progressive[-2:],
        "strips or tiles": tiff_of_strips(limits.MAX_PIECES + 1),
        "over the limit of 4,000,000": icon("ICNS", saved(Image.new("RGB", (2500, 1700)), "PNG")),
        "": saved(Image.open(EXAMPLES / "shirt.jpg"), "JPEG"),
    }
    for number, (message, data) in enumerate(files.items()):
        path = tmp_path / str(number)
        path.write_bytes(data)
        with Image.open(path if closes else io.BytesIO(data)) as image:
            if message:
                with pytest.raises(ImageError, match=message):
                    open_image(image)
            else:
                assert open_image(image).tobytes() == open_image(data).tobytes()
                assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()  # as it was
                assert open_image(image).size == image.size  # now decoded, so it is the caller's memory


def test_another_frame_of_an_animation_is_the_one_that_is_read() -> None:
    file = io.BytesIO()
    Image.new("L", (50, 40), 10).save(file, "GIF", save_all=True, append_images=[Image.new("L", (50, 40), 200)])
    with Image.open(file) as image:
        image.seek(1)
        assert open_image(image).convert("L").getpixel((20, 20)) == 200
        image.seek(0)
        assert open_image(image).convert("L").getpixel((20, 20)) == 10


def test_slow_decoders_get_smaller_pictures() -> None:
    header = b"qoif" + struct.pack(">2L2B", 5000, 5000, 3, 0)
    with pytest.raises(ImageError, match="3,000,000"):
        open_image(header + b"\xfd" * 1000)


def test_a_webp_that_would_take_more_than_500_megabytes() -> None:
    file = io.BytesIO()
    Image.new("L", (5200, 5200)).save(file, "WEBP", lossless=True, method=0, quality=0)
    assert len(file.getvalue()) < 10_000
    with pytest.raises(ImageError, match="over the limit of 25,000,000"):
        open_image(file.getvalue())


@pytest.mark.parametrize(
    ("kind", "mode", "limit"),
    [
        ("HEIF", "RGB", "48,913,043"),
        ("HEIF", "RGBA", "36,000,000"),
        ("AVIF", "RGB", "33,333,333"),
        ("AVIF", "RGBA", "26,785,714"),
        ("JPEG2000", "L", "20,270,270"),
        ("JPEG2000", "RGB", "20,270,270"),
        ("JPEG2000", "RGBA", "16,304,347"),
    ],
)
def test_formats_with_several_copies_in_memory_get_smaller_pictures(kind: str, mode: str, limit: str) -> None:
    for megapixels in (48 if (kind, mode) == ("HEIF", "RGB") else 16, 49):  # phones take HEIF photos of 8064×6048
        image = Image.new(mode, (8064, 6048) if megapixels == 48 else (megapixels * 1000, 1000))
        image.format = kind
        if megapixels == 49:
            with pytest.raises(ImageError, match=f"over the limit of {limit}: refused"):
                limits.refuse_too_much(image)
        else:
            limits.refuse_too_much(image)


@pytest.mark.parametrize(
    ("mode", "depth", "chroma", "limit"),
    [
        ("RGB", 10, 444, "29,220,779"),
        ("RGB", 12, 422, "29,220,779"),
        ("RGBA", 10, 444, "21,951,219"),
        ("RGB", 10, 420, "48,913,043"),
        ("RGB", 8, 444, "48,913,043"),
    ],
)
def test_deep_heif_takes_more_memory(mode: str, depth: int, chroma: int, limit: str) -> None:
    image = Image.new(mode, (10_000, 4_900))
    image.format = "HEIF"
    image.info.update(bit_depth=depth, chroma=chroma)
    with pytest.raises(ImageError, match=f"over the limit of {limit}: refused"):
        limits.refuse_too_much(image)


@pytest.mark.parametrize("chroma", [420, 444])
def test_pillow_heif_states_depth_and_colors(chroma: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra `heic`")
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), bytes(64 * 64 * 6)).save(file, chroma=chroma)
    pillow_heif.register_heif_opener()
    with Image.open(file) as image:
        assert image.format == "HEIF" and image.info["bit_depth"] > 8 and image.info["chroma"] == chroma


def test_a_jpeg_2000_over_its_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (300, 200)), "JPEG2000")
    assert open_image(data).size == (300, 200)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 300 * 200 * 22)
    monkeypatch.setattr("PIL.Jpeg2KImagePlugin.Jpeg2KImageFile.load", lambda *a: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"300×200 pixels is over the limit of 5\d,\d{3}: refused"):
        open_image(data)


@pytest.mark.parametrize(
    "options",
    [
        {"codeblock_size": (4, 4)},
        {"codeblock_size": (4, 4), "num_resolutions": 1},
        {"codeblock_size": (4, 4), "precinct_size": (8, 8)},
        {"precinct_size": (16, 16)},
        {"tile_size": (8, 8)},
        {"tile_size": (64, 64), "codeblock_size": (4, 4)},
    ],
    ids=str,
)
def test_the_structure_of_a_jpeg_2000_counts(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (640, 480))
    most = 640 * 480 * 22.5 + 600_000  # the structure of an ordinary file takes less
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", most)
    for ordinary in ({}, {"codeblock_size": (32, 32)}, {"tile_size": (256, 256)}, {"precinct_size": (256, 256)}):
        assert open_image(saved(image, "JPEG2000", **ordinary)).size == image.size
    data = saved(image, "JPEG2000", **options)
    for file in (data, data[data.index(b"\xff\x4f\xff\x51") :]):  # in boxes, and the codestream alone
        with pytest.raises(ImageError, match=r"640×480 pixels is over the limit of .* bomb"):
            open_image(file)


def test_a_coding_style_in_the_header_of_a_tile_counts() -> None:
    image = Image.new("RGB", (640, 480), (90, 60, 30))
    ordinary, data = (saved(image, "JPEG2000", no_jp2=True, codeblock_size=(side, side)) for side in (64, 4))
    style, tile = data.index(b"\xff\x52"), data.index(b"\xff\x90")
    main = bytearray(data[:tile])
    main[style + 10 : style + 12] = 4, 4  # exponents less 2: blocks of 64×64
    (length,) = struct.unpack_from(">L", data, tile + 6)
    part = data[tile : tile + 6] + struct.pack(">L", length + 14) + data[tile + 10 : tile + 12]
    changed = main + part + data[style : style + 14] + data[tile + 12 :]
    assert np.array_equal(np.asarray(open_image(bytes(changed))), np.asarray(image))
    assert structure_bytes(ordinary) < 1e6 < structure_bytes(data) == structure_bytes(changed)


@pytest.mark.parametrize("marker", [b"\xff\x30", b"\xff\x5a\0\x40", b"\xff\x01"])
@pytest.mark.parametrize("boxed", [False, True])
def test_a_jpeg_2000_with_unknown_markers_is_refused(marker: bytes, boxed: bool) -> None:
    """OpenJPEG searches behind them, and would find what is hidden there."""
    data = saved(Image.new("RGB", (64, 64)), "JPEG2000", no_jp2=not boxed)
    for known in (b"\xff\x51", b"\xff\x52", b"\xff\x5c", b"\xff\x90", b"\xff\x93"):
        place = data.index(known, data.index(b"\xff\x4f\xff\x51"))
        changed = data[:place] + marker + data[place:]
        with pytest.raises(ImageError, match="a damaged JPEG 2000 image, or one with unknown parts: refused"):
            structure_bytes(changed)
        with pytest.raises(ImageError):  # Pillow names some of them before
            open_image(changed)
    decoy = struct.pack(">L4s", 8 + len(data), b"free") + data
    if boxed:
        assert structure_bytes(data[:12] + decoy + data[12:]) == structure_bytes(data)


def test_a_jpeg_2000_of_many_parts() -> None:
    data = saved(Image.new("L", (64, 64)), "JPEG2000", no_jp2=True)
    tile = data.index(b"\xff\x90")
    part = data[tile : tile + 6] + struct.pack(">L", 14) + data[tile + 10 : tile + 12] + b"\xff\x93"
    with pytest.raises(ImageError, match="a JPEG 2000 image of more than 100,000 parts"):
        open_image(data[:tile] + part * 100_001 + data[tile:])


WRITE = """
import sys
from PIL import Image
kind, mode, width, height, path, options = sys.argv[1:]
image = Image.new(mode, (int(width), int(height)))
if mode == "P":
    image.putpalette(bytes(range(255, -1, -1)) * 3)
image.save(path, kind, **eval(options))
"""
READ = """
import re, sys
from pathlib import Path
from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.decode import open_image
try:
    open_image(sys.argv[1])
except ImageError as error:
    print(error, file=sys.stderr)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of its memory in /proc")
@pytest.mark.parametrize("excess", [-20, 20], ids=["under", "over"])
@pytest.mark.parametrize(
    ("kind", "mode", "megapixels", "options"),
    [
        ("PNG", "LA", 37.5, {}),
        ("PNG", "RGBA", 56.25, {}),
        ("PNG", "RGB", 37.5, {"transparency": (3, 3, 3)}),
        ("GIF", "P", 90, {}),
        ("GIF", "P", 50, {"transparency": 3}),
        ("JPEG", "RGB", 75, {"progressive": True, "subsampling": 0}),
        ("JPEG2000", "RGBA", 16.071, {}),
        ("JPEG2000", "RGB", 4.575, {"codeblock_size": (4, 4)}),
        ("TIFF", "RGB", 64.285, {"compression": "tiff_adobe_deflate", "strip_size": 1 << 30}),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_no_picture_takes_more_than_500_megabytes(
    kind: str, mode: str, megapixels: float, options: dict[str, object], excess: int, tmp_path: Path
) -> None:
    path, height = str(tmp_path / "picture"), round(megapixels * 200) + excess
    subprocess.run([sys.executable, "-c", WRITE, kind, mode, "5000", str(height), path, repr(options)], check=True)
    done = subprocess.run([sys.executable, "-c", READ, path], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 500e6
    assert ("refused as a decompression bomb" in done.stderr) == (excess > 0)
    assert done.stderr.count("\n") == (excess > 0)


def directory_of_copies(entries: list[tuple[int, int, int, int]], content: bytes) -> bytes:
    """A TIFF file whose directory has these entries, the content, and 2,000 tags whose values all are a megabyte of it."""
    start = 8 + 2 + 12 * (len(entries) + 2000) + 4
    entries = [(tag, kind, count, value or start) for tag, kind, count, value in entries]
    entries += [(1000 + number, 1, 1_000_000, start) for number in range(2000)]
    table = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return struct.pack("<2sHLH", b"II", 42, 8, len(entries)) + table + bytes(4) + content.ljust(1_000_000, b"\1")


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "WEBP", "AVIF"])
def test_tags_that_all_have_the_same_value(kind: str) -> None:
    """Pillow refuses them since its version 13; before, a file of a megabyte took gigabytes."""
    if kind in ("WEBP", "AVIF") and not features.check(kind.lower()):
        pytest.skip(f"needs a Pillow that writes {kind}")
    if kind == "TIFF":
        entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0)]
        data = directory_of_copies([*entries, (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)], bytes(64))
    elif kind == "JPEG":
        data, exif = saved(Image.new("L", (8, 8)), kind), directory_of_copies([], b"")
        parts = [exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
        segments = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
        data = data[:2] + b"".join(segments) + data[2:]
    else:
        with warnings.catch_warnings(action="ignore"):  # of writing AVIF
            data = saved(Image.new("L", (8, 8)), kind, exif=b"Exif\0\0" + directory_of_copies([], b""))
    tracemalloc.start()
    try:
        with suppress(ImageError):
            open_image(data)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of its memory in /proc")
@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")
@pytest.mark.parametrize(("side", "stated"), [(5600, 5500), (2000, 5600), (6000, 100)])
def test_an_avif_of_a_false_size_takes_no_more(side: int, stated: int, tmp_path: Path) -> None:
    path, options = tmp_path / "picture", {"speed": 10, "subsampling": "4:4:4"}
    command = [sys.executable, "-c", WRITE, "AVIF", "RGB", str(side), str(side), str(path), repr(options)]
    subprocess.run(command, check=True)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack(">2L", side, side), struct.pack(">2L", stated, stated)))
    done = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 500e6
    assert ("over the limit of" in done.stderr) == (side == 6000)


def test_a_progressive_jpeg_of_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.open(EXAMPLES / "shirt.jpg"), "JPEG", progressive=True)
    assert open_image(data).size
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        open_image(data[:-2] + data[last:-2] * limits.MAX_SCANS + data[-2:])
    behind = data + b"\xff\xda" * 1000  # the film that a telephone appends to its photo
    assert open_image(behind).tobytes() == open_image(data).tobytes()


@pytest.mark.parametrize("before", [b"", b"\xff\xd9", b"\xff\xf0\xff\xff"], ids=["", "EOI", "JPG0"])
def test_a_jpeg_of_many_exif_segments(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind markers at which a reader would stop: Pillow's does not."""
    data = saved(Image.open(EXAMPLES / "shirt.jpg"), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 9) + b"Exif\0\0x"
    assert open_image(data[:2] + segment * limits.MAX_EXIF_SEGMENTS + data[2:]).tobytes() == open_image(data).tobytes()
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile._open", lambda *a: pytest.fail("opened"))
    with pytest.raises(ImageError, match="a JPEG of more than 100 EXIF segments: refused"):
        open_image(data[:2] + before + segment * (limits.MAX_EXIF_SEGMENTS + 1) + data[2:])


def test_a_plain_pgm_of_many_comments() -> None:
    comments = b"#\n" * limits.MAX_COMMENTS
    assert open_image(b"P2 1 1 255\n" + comments + b"7").getpixel((0, 0)) == 7
    with pytest.raises(ImageError, match="more than 10,000 comments: refused"):
        open_image(b"P2 1 1 255\n#\n" + comments + b"7")


def test_scans_are_counted_unless_the_first_holds_all_components() -> None:
    image = Image.open(EXAMPLES / "shirt.jpg")
    plain, progressive = (saved(image, "JPEG", progressive=each) for each in (False, True))
    assert limits._is_in_one_scan(plain) and limits._is_in_one_scan(saved(image.convert("L"), "JPEG"))
    assert not limits._is_in_one_scan(progressive)
    scan = plain.index(b"\xff\xda") + 4
    assert plain[scan] == 3
    assert not limits._is_in_one_scan(plain[:scan] + b"\1" + plain[scan + 1 :])  # one component of three
    assert not any(limits._is_in_one_scan(plain[:end]) for end in range(scan))


def test_a_tiff_of_many_strips() -> None:
    assert open_image(tiff_of_strips(1000)).size == (1, 1000)
    with pytest.raises(ImageError, match="strips"):
        open_image(tiff_of_strips(limits.MAX_PIECES + 1))


@pytest.mark.parametrize("layout", ["<", ">"])
def test_a_bigtiff_of_many_strips(layout: str) -> None:
    start = (b"II" if layout == "<" else b"MM") + struct.pack(layout + "HHHQ", 43, 8, 0, 16)
    with pytest.raises(ImageError, match="strips"):
        open_image(start + struct.pack(layout + "QHHQQ", 1, 273, 16, 1 << 30, 0))


def test_millions_of_tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Metered, "_left", 1000)
    gif = saved(Image.new("L", (8, 8)), "GIF")
    end_of_header = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    comments = b"\x21\xfe\x01x\x00" * 2000
    with pytest.raises(ImageError, match="small parts"):
        open_image(gif[:end_of_header] + comments + gif[end_of_header:])


def test_decoders_in_python_may_read_for_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Metered, "_left", 100)
    colors = np.random.default_rng(0).integers(0, 256, (1024, 3), np.uint8)
    data = b"qoif" + struct.pack(">2L2B", 32, 32, 3, 0) + b"".join(b"\xfe" + color.tobytes() for color in colors)
    assert np.array_equal(np.asarray(open_image(data + bytes(7) + b"\1")), colors.reshape(32, 32, 3))
    bmp = bytearray(saved(Image.new("P", (32, 32)), "BMP"))
    bmp[30:34] = struct.pack("<L", 1)  # compressed by runs
    with pytest.raises(ImageError, match="small parts"):
        open_image(bytes(bmp[: 54 + 1024]) + bytes(2) * 2500)


def test_programs_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: pytest.fail("a program was run"))
    with pytest.raises(ImageError, match="PostScript"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\n")


def test_a_large_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fmnist_runtime.image_io.decode.MAX_BYTES", 1 << 20)
    (tmp_path / "x.png").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        open_image(tmp_path / "x.png")


def test_telephones_200_megapixels_are_welcome() -> None:
    data = saved(Image.new("L", (16320, 12240), 200), "JPEG")
    assert max(open_image(data).size) <= 2048


def test_many_threads_leave_pillow_and_warnings_as_they_were() -> None:
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    data = [path.read_bytes() for path in EXAMPLES.glob("*.jpg")]
    threads = [threading.Thread(target=lambda: [open_image(d) for d in data]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS and list(warnings.filters) == filters


def test_a_file_object_that_cannot_be_read_is_not_called_a_damaged_picture(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"")
    with (tmp_path / "photo").open("rb") as closed:
        pass
    with pytest.raises(ImageError, match=r"^cannot be read: .*closed file"):
        open_image(closed)
    with (
        (tmp_path / "new").open("wb") as written,
        pytest.raises(ImageError, match=r"opened for reading in binary mode"),
    ):
        open_image(written)


class _Broken:
    """A file object and path of the caller's own class, which does not work."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __fspath__(self) -> str:
        raise self.error


class _BrokenFile(_Broken):
    def read(self, size: int) -> bytes:
        raise self.error


@pytest.mark.parametrize("kind", [_Broken, _BrokenFile])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("the camera is off"), "the camera is off"),
        (BlockingIOError(), "BlockingIOError without a reason"),
        (KeyError("row"), "KeyError: 'row'"),
        (EOFError("too short"), "EOFError: too short"),
    ],
)
def test_errors_of_the_callers_own_classes_are_not_called_damaged_pictures(
    kind: type[_Broken], error: Exception, message: str
) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(kind(error))
    assert str(caught.value) == f"cannot be read: {message}"


def test_an_array_over_the_limit_is_refused_before_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "fromarray", lambda *_: pytest.fail("copied"))
    view = np.broadcast_to(np.zeros(1, "uint8"), (20_000, 30_000))  # one byte
    with pytest.raises(ImageError, match=r"^30000×20000 pixels is over the limit of 100,000,000"):
        open_image(view)
