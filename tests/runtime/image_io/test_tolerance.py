"""Valid files that were refused before: long PNG text, JPEG without its end; and formats that Pillow cannot read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io import repair
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.unsupported import describe_unsupported

EXAMPLES = Path(__file__).parents[3] / "examples"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def png(*chunks: bytes, **options: object) -> tuple[bytes, np.ndarray]:
    """A PNG file with chunks added behind its header and before its end, and its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    data, added = file.getvalue(), b"".join(chunks)
    return data[:33] + added + data[33:-12] + added + data[-12:], pixels


LONG = zlib.compress(bytes(3 << 20))
TEXTS = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + LONG),
    "iTXt packed": chunk(b"iTXt", b"Comment\0\1\0en\0Kommentar\0" + LONG),
    "iTXt": chunk(b"iTXt", b"Comment\0\0\0\0\0" + b"x" * (2 << 20)),
    "tEXt": chunk(b"tEXt", b"Comment\0" + b"x" * (2 << 20)),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + LONG),
    "broken zlib": chunk(b"zTXt", b"Comment\0\0no zlib data"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_long_text_does_not_hide_the_pixels(kind: str) -> None:
    data, pixels = png(TEXTS[kind])
    assert np.array_equal(open_image(data), pixels)


def test_much_text_in_short_chunks() -> None:
    data, pixels = png(*[chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)))] * 200)
    assert np.array_equal(open_image(data), pixels)


def test_no_more_text_is_unpacked_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Decompressor:
        def decompress(self, data: bytes, limit: int) -> bytes:
            sizes.append(limit)
            return bytes(limit)

    monkeypatch.setattr(repair.zlib, "decompressobj", Decompressor)
    repair.drop_long_text(png(TEXTS["zTXt"])[0])
    assert sizes == [(1 << 20) + 1] * 2
    sizes.clear()
    texts = png(*[chunk(b"zTXt", b"k\0\0x"), chunk(b"iCCP", b"k\0\0x")] * 500)[0]
    assert len(repair.drop_long_text(texts)) < len(texts) / 2
    assert len(sizes) == 17  # those that make 16 MB, and one more


def test_damaged_text_counts_as_unpacked() -> None:
    damaged = zlib.compress(bytes(1 << 20))[:-1] + b"x"
    data, pixels = png(*[chunk(b"zTXt", b"k\0\0" + damaged)] * 50)
    assert np.array_equal(open_image(data), pixels)
    assert repair.drop_long_text(data).count(b"zTXt") == 16


def test_short_text_stays(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data, _ = png(chunk(b"tEXt", b"Comment\0short"), TEXTS["zTXt"], exif=exif)
    kept = repair.drop_long_text(data)
    assert b"short" in kept and len(kept) == len(data) - 2 * len(TEXTS["zTXt"])
    assert open_image(data).size == (20, 30)
    plain = png(chunk(b"tEXt", b"Comment\0short"))[0]
    assert repair.drop_long_text(plain) is plain


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_comments_in_a_plain_pgm_are_left_out(end: bytes) -> None:
    text = b"P2 # kind\n# a comment\n3 2 # size\n255\n0 1#2 3\n2 # 9\n#\n##\n3 4\n5 # end"
    assert np.array_equal(open_image(text.replace(b"\n", end)), [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(open_image(b"P5 2 2 255\n####"), np.full((2, 2), ord("#")))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("size", [(60, 80), (900, 1300)])
def test_a_jpeg_without_its_end(progressive: bool, missing: int, size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").resize(size).save(file, "JPEG", progressive=progressive)
    data = file.getvalue()
    assert data.endswith(b"\xff\xd9")
    assert np.array_equal(open_image(data[:-missing]), open_image(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_jpeg_that_lacks_pixels_is_refused(progressive: bool, kept: float) -> None:
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").save(file, "JPEG", progressive=progressive)
    data = file.getvalue()
    with pytest.raises(ImageError, match="truncated"):
        open_image(data[: int(len(data) * kept)])


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_are_no_pixels_of_a_jpeg(progressive: bool) -> None:
    """An interrupted copy may have its whole length, and decoders take its zeros as blocks."""
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").save(file, "JPEG", progressive=progressive)
    whole = file.getvalue()
    expected = open_image(whole).tobytes()
    for kept in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError, match="damaged or truncated"):
            open_image(whole[: int(kept * len(whole))].ljust(len(whole), b"\0"))
    for padded in (whole + bytes(999), whole[:-2] + bytes(999), whole + b"a video" + bytes(999)):
        assert open_image(padded).tobytes() == expected


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("WEBP", {}), ("AVIF", {}), ("HEIF", {})]
)
def test_zeros_are_no_pixels_of_other_formats(kind: str, options: dict[str, bool]) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").save(file, kind, **options)
    whole = file.getvalue()
    open_image(whole)
    for kept in (0.3, 0.6, 0.8):
        with pytest.raises(ImageError, match="damaged picture: part of its data was lost"):
            open_image(whole[: int(kept * len(whole))].ljust(len(whole), b"\0"))


@pytest.mark.parametrize("quality", [30, 100])
def test_a_white_background_is_no_lost_end(quality: int) -> None:
    """Its compressed pixels are zeros, in lossy WebP."""
    picture = Image.new("RGB", (1000, 1000), "white")
    picture.paste(Image.open(EXAMPLES / "dress.jpg").resize((300, 300)), (350, 20))
    for method in (0, 4):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=method)
        open_image(file.getvalue())


def test_exif_that_ends_with_zeros_is_no_lost_end() -> None:
    """Cameras leave space in it."""
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x927C] = bytes(500)  # the camera's own note
    Image.open(EXAMPLES / "dress.jpg").save(file, "AVIF", exif=exif)
    assert bytes(500) in file.getvalue()
    open_image(file.getvalue())


def ftyp(brand: bytes, compatible: bytes = b"mif1heic") -> bytes:
    return struct.pack(">L", 24) + b"ftyp" + brand + bytes(4) + compatible + bytes(100)


@pytest.mark.parametrize(
    ("data", "name", "advice"),
    [
        (ftyp(b"heic"), "HEIC", "pip install pillow-heif"),
        (ftyp(b"crx "), "raw", "JPEG"),
        (ftyp(b"isom", b"isommp42"), "video", "frame"),
        (ftyp(b"mif2"), "HEIF image of an uncommon kind", "JPEG"),
        (b"%PDF-1.7\n", "PDF", "export"),
        (b'<?xml version="1.0"?>\n<!-- a comment -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "PNG"),
        (b"FUJIFILMCCD-RAW 0201", "raw", "JPEG"),
        (b"II\xbc\x01" + bytes(30), "JPEG XR", "PNG"),
        (b"MM\0+\0\x08\0\0" + bytes(30), "TIFF", "export"),
        (b"P7\nWIDTH 2\n", "PAM", "PNG"),
        (b"gimp xcf v011\0", "GIMP", "export"),
        (b"8BPS\0\2" + bytes(30), "Photoshop", "export"),
        (b"<!DOCTYPE html><title>404</title>", "web page", "download"),
        (b"PK\x03\x04" + bytes(30), "ZIP", "unpack"),
        (b"hello", "not a picture", "format"),
    ],
)
def test_formats_that_cannot_be_read_are_named(data: bytes, name: str, advice: str) -> None:
    assert name in describe_unsupported(data) and advice in describe_unsupported(data)


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"<svg/>", b"FUJIFILMCCD-RAW 0201" + bytes(200), ftyp(b"crx ")])
def test_their_names_reach_the_user(data: bytes) -> None:
    with pytest.raises(ImageError) as refusal:
        open_image(data)
    assert str(refusal.value) == describe_unsupported(data)


WMF = b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hHIH", 0, 0, 2000, 1500, 1440, 0, 0) + b"\1\0\x09\0" + bytes(14)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (WMF, "WMF is a Windows metafile of drawings; export it as PNG"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 holds measurements; export a picture of them as PNG"),
        (b"\0\0\1\xb3" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"RIFF\0\1\0\0AVI LIST" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"\0\0\0\x08wide\0\0\1\0mdat" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"The free text of a letter" * 9, "not a picture, or in a format that this Pillow does not read"),
        (b"FLV\1\5" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"OggS\0\2" + bytes(30), "a video; export a frame as PNG or JPEG"),
        (b"\0\0\0\1\x67\x64" + bytes(30), "a video; export a frame as PNG or JPEG"),
        ((b"G" + bytes(187)) * 3, "a video; export a frame as PNG or JPEG"),
        ((bytes(4) + b"G" + bytes(187)) * 3, "a video; export a frame as PNG or JPEG"),
        (b"\0\0\1\xb3\x16\x01\x20" + bytes(30), "a video; export a frame as PNG or JPEG"),
    ],
)
def test_what_pillow_recognizes_and_cannot_read_is_named(data: bytes, cause: str) -> None:
    with pytest.raises(ImageError) as refusal:
        open_image(data)
    assert str(refusal.value) == cause


def test_a_jpeg_with_its_height_at_the_end_is_named() -> None:
    data = bytearray((EXAMPLES / "dress.jpg").read_bytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 2] = bytes(2)
    with pytest.raises(ImageError, match=r"states its height after its pixels \(DNL\)"):
        open_image(bytes(data))


def test_the_png_of_an_app_is_named() -> None:
    data, _ = png()
    apple = data[:8] + chunk(b"CgBI", struct.pack(">I", 0x50002002)) + data[8:]
    with pytest.raises(ImageError, match=r"a PNG as Xcode packs it into apps \(CgBI\)"):
        open_image(apple)


@pytest.mark.parametrize(
    ("readable", "advice"), [(True, "a damaged or truncated AVIF image"), (False, "upgrade pillow")]
)
def test_avif_is_damaged_where_pillow_reads_it(readable: bool, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: readable)
    assert "AVIF" in describe_unsupported(ftyp(b"avif")) and advice in describe_unsupported(ftyp(b"avif"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("kept", [16, 60, 300])
def test_the_beginning_of_a_picture_is_a_damaged_picture(kind: str, kept: int) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow does not read AVIF")
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").save(file, kind)
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(file.getvalue()[:kept])


@pytest.mark.parametrize(
    ("frame", "bits", "name"),
    [
        (0xC1, 12, "12 bits"),
        (0xC2, 12, "12 bits"),
        (0xC3, 8, "lossless"),
        (0xC3, 16, "lossless"),
        (0xF7, 8, "lossless"),
    ],
)
def test_a_jpeg_that_pillow_does_not_read_is_not_called_damaged(frame: int, bits: int, name: str) -> None:
    data = bytearray((EXAMPLES / "dress.jpg").read_bytes())
    start = data.index(b"\xff\xc0") if b"\xff\xc0" in data else data.index(b"\xff\xc2")
    data[start + 1], data[start + 4] = frame, bits
    with pytest.raises(ImageError, match=rf"^a .*{name}.* JPEG|^a JPEG with {name}") as refusal:
        open_image(bytes(data))
    assert "convert it" in str(refusal.value)


def test_a_lossless_jpeg_is_read_where_pillow_reads_it_and_named_elsewhere() -> None:
    data = bytes.fromhex(
        "ffd8ffe000104a46494600010100000100010000ffc3000b080008000801011100ffc4001500010100000000000000000000000000000508"
        "ffda00080101000100009fd0" + "410" * 31 + "fffd9"
    )
    try:
        pixels = np.asarray(open_image(data))
    except ImageError as refusal:
        assert str(refusal).startswith("a lossless") and (features.version_feature("libjpeg_turbo") or "0") < "3"
    else:
        assert pixels.tolist() == [[16 * (row + column) for column in range(8)] for row in range(8)]


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    Image.init()  # or Pillow would register its plugins in the copy, once and for all
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    monkeypatch.setattr(Image, "ID", [k for k in Image.ID if k != "HEIF"])
    with pytest.raises(ImageError, match=r"HEIC photo.*pip install pillow-heif"):
        open_image(ftyp(b"heic"))


def test_a_damaged_heic_photo_with_the_extra() -> None:
    pytest.importorskip("pillow_heif", reason="needs the extra `heic`")
    with pytest.raises(ImageError, match=r"^a damaged or truncated HEIC photo$"):
        open_image(ftyp(b"heic"))


def test_heic_with_its_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra `heic`")
    pillow_heif.register_heif_opener()
    photo = Image.open(EXAMPLES / "dress.jpg").convert("RGB")
    file = io.BytesIO()
    photo.save(file, "HEIF", quality=90)
    opened = open_image(file.getvalue())
    assert opened.size == photo.size
    assert np.abs(np.asarray(opened, int) - np.asarray(photo, int)).mean() < 6
    with pytest.raises(ImageError):
        open_image(file.getvalue()[: len(file.getvalue()) // 2])


def tiff(planes: np.ndarray, compression: int = 1, kind: int = 1) -> bytes:
    """A TIFF file of separate planes ``[3, H, W]``, which are stored as they are, whatever the compression stated."""
    count, height, width = planes.shape
    data, values = planes.tobytes(), 8 + 2 + 11 * 12 + 4
    size = len(data) // count
    sixes = [planes.dtype.itemsize * 8] * count + [kind] * count
    offsets = [values + 4 * len(sixes) + 8 * count + size * number for number in range(count)]
    longs = [*sixes, *offsets, *[size] * count]  # every value as a LONG
    entries = [
        *[(256, 1, width), (257, 1, height), (258, count, values), (259, 1, compression), (262, 1, 2)],
        *[(273, count, values + 8 * count), (277, 1, count), (278, 1, height), (279, count, values + 12 * count)],
        *[(284, 1, 2), (339, count, values + 4 * count)],
    ]
    directory = b"".join(struct.pack("<HHLL", tag, 4, number, value) for tag, number, value in entries)
    header = b"II*\0" + struct.pack("<LH", 8, len(entries)) + directory + bytes(4)
    return header + struct.pack(f"<{len(longs)}L", *longs) + data


def test_a_tiff_whose_pixels_pillow_gets_wrong_is_refused() -> None:
    planes = np.asarray(Image.open(EXAMPLES / "dress.jpg").convert("RGB"), np.uint8).transpose(2, 0, 1)
    assert np.array_equal(open_image(tiff(planes)), planes.transpose(1, 2, 0))
    with pytest.raises(ImageError, match="wrong pixels; save it with 8 bits"):
        open_image(tiff(planes.astype("<u2") * 257))


@pytest.mark.parametrize(("dtype", "kind", "compression"), [("<f4", 3, 1), ("<f8", 3, 1), ("u1", 1, 34934)])
def test_a_tiff_that_pillow_does_not_read_is_not_only_called_damaged(dtype: str, kind: int, compression: int) -> None:
    data = tiff(np.zeros((3, 20, 30), dtype), compression, kind)
    with pytest.raises(ImageError, match="of a kind that Pillow does not read; export it as PNG or JPEG"):
        open_image(data)


def tiff_fields(*fields: tuple[int, int, bytes]) -> bytes:
    """The directory of a little-endian TIFF file: tags, types and values of up to four bytes."""
    entries = [struct.pack("<HHL4s", tag, kind, 4 if kind == 1 else 1, value) for tag, kind, value in fields]
    return struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def gray_tiff(pixels: np.ndarray, photometric: int = 1, kind: int = 1) -> bytes:
    """A little-endian TIFF file of one channel ``[H, W]``, without compression."""
    data, (height, width) = pixels.tobytes(), pixels.shape
    tags = {256: width, 257: height, 258: 8 * pixels.itemsize, 259: 1, 262: photometric, 273: 8, 278: height}
    fields = [(tag, 4, struct.pack("<L", value)) for tag, value in {**tags, 279: len(data), 339: kind}.items()]
    return b"II*\0" + struct.pack("<L", 8 + len(data)) + data + tiff_fields(*fields)


def test_gray_tiffs_have_their_pixels_or_are_refused() -> None:
    gray = np.asarray(Image.open(EXAMPLES / "dress.jpg").convert("L"), np.uint8)
    for right in (
        gray_tiff(gray),
        gray_tiff(255 - gray, photometric=0),
        gray_tiff(gray.astype("<u2") * 257),
        gray_tiff(gray.astype("<u4") * 257),
        gray_tiff((gray / 255).astype("<f4"), kind=3),
    ):
        assert np.abs(np.asarray(open_image(right), int) - gray).max() <= 1
    for wrong, what in (
        (gray_tiff(65535 - gray.astype("<u2") * 257, photometric=0), "over 8 bits in which white is 0"),
        (gray_tiff((1 - gray / 255).astype("<f4"), photometric=0, kind=3), "over 8 bits in which white is 0"),
        (gray_tiff((gray.astype(int) - 128).astype("i1"), kind=2), "signed 8 bits"),
        (gray_tiff(gray.astype("<u4") * 16843009), "unsigned 32 bits"),
    ):
        with pytest.raises(ImageError) as refusal:
            open_image(wrong)
        assert str(refusal.value).startswith(f"a TIFF with {what}, which Pillow decodes to wrong pixels; save it")


def test_a_fourth_byte_that_is_no_opacity_is_not_taken_for_it() -> None:
    photo = Image.open(EXAMPLES / "dress.jpg").convert("RGB")
    photo.putalpha(0)
    file = io.BytesIO()
    photo.save(file, "TGA")
    data = bytearray(file.getvalue())
    assert data[17] & 15 == 8 and open_image(bytes(data)).mode == "RGBA"
    data[17] &= 0xF0
    assert np.array_equal(open_image(bytes(data)), photo.convert("RGB"))


def two_images(first: dict[int, int], start: bytes = b"II*\0", dng: bool = False) -> bytes:
    """A TIFF file of an 8×8 image, with other or further tags; a value of -1 leaves out the tag."""
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 24, 278: 8, 279: 64} | first
    kept = {tag: value for tag, value in sorted(tags.items()) if value >= 0}
    fields = [(tag, 4, struct.pack("<L", value)) for tag, value in kept.items()]
    fields += [(50706, 1, b"\1\4\0\0")] if dng else []
    head = start + struct.pack("<L", 88) if len(start) == 4 else start
    return head.ljust(24, b"\0") + bytes(range(64)) + tiff_fields(*fields)


def with_subdirectory(first: dict[int, int], sub: dict[int, int], *, places: int = 1) -> bytes:
    """A TIFF file as ``two_images`` writes it, with a subdirectory of a few tags; with several places, its last one."""
    data = two_images({**first, 330: 0})
    end = len(data) + (4 * places if places > 1 else 0)
    entry = struct.pack("<HHL", 330, 4, places)
    data = data.replace(struct.pack("<HHLL", 330, 4, 1, 0), entry + struct.pack("<L", len(data) if places > 1 else end))
    data += struct.pack(f"<{places}L", *[88] * (places - 1), end) if places > 1 else b""
    return data + tiff_fields(*[(tag, 4, struct.pack("<L", value)) for tag, value in sorted(sub.items())])


def big_tiff(place: int, photometric: int) -> bytes:
    """A BigTIFF file of a thumbnail, which points at a subdirectory; that at byte 96 states a photometric interpretation."""
    entries = struct.pack("<HHQQHHQQ", 254, 4, 1, 1, 330, 18, 1, place)
    first = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2) + entries
    return first.ljust(96, b"\0") + struct.pack("<QHHQQ", 1, 262, 3, 1, photometric) + bytes(8)


NO_IMAGE = {256: -1, 257: -1, 273: -1, 278: -1, 279: -1}
RAW_FILES = {
    "DNG": two_images({254: 1, 330: 88}, dng=True),
    "DNG without a preview": two_images({254: 0}, dng=True),
    "a preview and the sensor's image": with_subdirectory({254: 1}, {262: 32803}),
    "the sensor's image is the last of three": with_subdirectory({254: 1}, {262: 32803}, places=3),
    "BigTIFF": big_tiff(96, 32803),
    "a compression of cameras": with_subdirectory({254: 1}, {259: 34713, 262: 1}),
    "no image but in a subdirectory": with_subdirectory(NO_IMAGE, {262: 32803}),
    "the sensor's image alone": two_images({262: 32803}),
    "linear colors": two_images({262: 34892}),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + two_images({273: 40})[88:],
    "IIQ": two_images({}, b"II*\0" + struct.pack("<L", 88) + b"IIII\4waR"),
}


@pytest.mark.parametrize("kind", RAW_FILES)
def test_a_raw_file_is_refused_although_its_preview_could_be_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(RAW_FILES[kind])
    for source in (RAW_FILES[kind], tmp_path / "photo.jpg"):
        with pytest.raises(ImageError, match=r"^a camera's raw file; export it as JPEG or PNG$"):
            open_image(source)


@pytest.mark.parametrize("places", [1, 3, 1000])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_a_thumbnail_before_an_ordinary_image_is_named(places: int, photometric: int) -> None:
    data = with_subdirectory({254: 1}, {256: 80, 257: 80, 259: 5, 262: photometric}, places=places)
    with pytest.raises(ImageError, match=r"^a TIFF whose first image is a thumbnail; export it as JPEG or PNG$"):
        open_image(data)


def test_a_thumbnail_on_the_first_page_is_named() -> None:
    small, full = (Image.new("RGB", (side, side), "white") for side in (32, 160))
    first, second = io.BytesIO(), io.BytesIO()
    small.save(first, "TIFF", tiffinfo={254: 1}, save_all=True, append_images=[full])
    full.save(second, "TIFF", save_all=True, append_images=[small])
    assert open_image(second.getvalue()).size == (160, 160)
    entry = 254, 4, 1, 1
    others = (
        b"MM\0*" + struct.pack(">LHHHLLL", 8, 1, *entry, 99),
        b"II+\0\x08\0\0\0" + struct.pack("<QQHHQQQ", 16, 1, *entry, 99),
    )
    for data in (first.getvalue(), *others):
        with pytest.raises(ImageError, match=r"^a TIFF whose first image is a thumbnail; export it as JPEG or PNG$"):
            open_image(data)


@pytest.mark.parametrize("place", [0, 5, 96, 1 << 20, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1])
def test_a_subdirectory_may_be_anywhere(place: int) -> None:
    files = [big_tiff(place, 2)] + ([two_images({254: 1, 330: place})] if place < 1 << 32 else [])
    for data in files:
        with pytest.raises(ImageError, match=r"^a TIFF whose first image is a thumbnail"):
            open_image(data)


@pytest.mark.parametrize("first", [{}, {254: 1}, {254: 0, 330: 88}, {330: 88}, {254: 2, 330: 88}], ids=str)
@pytest.mark.parametrize("pixels", [b"", b"CR\2\0", b"IIII", b"MMMM"])
def test_an_ordinary_tiff_may_hold_further_images(first: dict[int, int], pixels: bytes) -> None:
    """Pyramids and layers are in subdirectories, too; the pixels may begin with any bytes."""
    data = two_images(first, b"II*\0" + struct.pack("<L", 88) + pixels)
    assert np.array_equal(open_image(data), np.arange(64).reshape(8, 8))


@pytest.mark.parametrize("start", [b"MMXXIV is a year", b"II. Of the same"])
def test_a_text_that_begins_like_a_tiff_is_no_picture(start: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(start * 9)
    assert "requires a buffer" not in str(caught.value) and "TIFF" not in str(caught.value)


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO()
    Image.open(EXAMPLES / "dress.jpg").save(file, "TIFF", compression="tiff_adobe_deflate")
    data = file.getvalue()
    for damaged in (data[:8] + bytes(2000) + data[2008:], tiff(np.zeros((3, 20, 30), "u1"), compression=8)):
        with pytest.raises(ImageError, match="damaged or truncated TIFF"):
            open_image(damaged)
    assert capfd.readouterr() == ("", "")
