"""Error messages for files that Pillow cannot read: phone photos, camera raw files, documents, web pages.

A message states the format and how to convert the file.
"""

from itertools import islice

from fmnist_runtime.files import describe_substitute
from fmnist_runtime.image_io.left_out import ALIAS_START, HEIF_BRANDS, TIFF_STARTS, starts_picture
from fmnist_runtime.image_io.limits import MAX_HEADER_MARKERS, VIDEO, jpeg_markers
from fmnist_runtime.image_io.tiff import UNREADABLE_TIFF

__all__ = ["APPLE_PNG", "RAW_FILE", "describe_jpeg", "describe_unsupported", "heif_is_readable"]

RAW_FILE = "a camera's raw file; export it as JPEG or PNG"
APPLE_PNG = "a PNG as Xcode packs it into apps (CgBI), which Pillow does not read; open it on a Mac and export it"
_SIGNATURES = {
    b"%PDF": "a PDF document; export the page as PNG or JPEG",
    b"FUJIFILMCCD-RAW": RAW_FILE,
    b"IIU\0": RAW_FILE,  # Panasonic
    b"IIRO": RAW_FILE,  # Olympus
    b"IIRS": RAW_FILE,
    b"MMOR": RAW_FILE,
    b"\0MRM": RAW_FILE,  # Minolta
    b"FOVb": RAW_FILE,  # Sigma
    b"\xff\x0a": "a JPEG XL image, which Pillow does not read; convert it to JPEG or PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL image, which Pillow does not read; convert it to JPEG or PNG",
    b"II\xbc": "a JPEG XR image, which Pillow does not read; convert it to JPEG or PNG",
    **dict.fromkeys((b"P7\n", b"PF\n"), "a PAM or PFM image, which Pillow does not read; convert it to PNG"),
    b"gimp xcf": "a project of GIMP; export it as JPEG or PNG",
    b"8BPS\0\2": "a large document of Photoshop (PSB); export it as JPEG or PNG",
    b"\0\5\x16\7": "a Mac's AppleDouble file of metadata; the picture is in the file whose name lacks the leading ._",
    ALIAS_START: "a Mac's alias, which only points at the picture; name the original file",
    b"bplist": "a Mac's property list; if it stands for a photo in iCloud, download the photo first",
    **dict.fromkeys((b"\x1aE\xdf\xa3", b"\0\0\1\xb3", b"\0\0\1\xba"), VIDEO),  # Matroska and WebM, MPEG
    **dict.fromkeys((b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\1", b"OggS"), VIDEO),  # Windows Media, Flash, Ogg
    **dict.fromkeys([b"\0\0\0\1" + unit for unit in (b"\x09", b"\x27", b"\x67")], VIDEO),  # H.264 without a container
    b"\0\0\0\1\x40\1": VIDEO,  # H.265
}
_QUICKTIME = frozenset([b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"])
"""First boxes of QuickTime files without ``ftyp``."""
_TRANSPORT = ((0, 188), (4, 192))
"""Position of the first sync byte, G, and distance of the next ones, in MPEG transport streams as of cameras and television."""
_READ_FRAMES = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])
"""JPEG frames that every Pillow decodes: sequential and progressive, with Huffman or arithmetic coding (ISO 10918-1, table B.1)."""
_UNREAD_FRAMES = frozenset([0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7])
"""Lossless and hierarchical JPEG frames, and that of JPEG-LS (ISO 14495-1)."""
_TEXT_BYTES = 1024
"""Bytes searched for the tags of text formats: comments and declarations may precede them."""


def describe_unsupported(data: bytes) -> str:
    """Returns one line about a file that Pillow cannot read: its format, if recognized, and what to do."""
    for signature, description in _SIGNATURES.items():
        if data.startswith(signature):
            return description
    if data[4:8] == b"ftyp":
        return _describe_ftyp(data)
    is_box = int.from_bytes(data[:4]) <= len(data)  # and not a text with such a word
    if (is_box and data[4:8] in _QUICKTIME) or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        return VIDEO
    if any(data[start : start + 2 * step + 1 : step] == b"GGG" for start, step in _TRANSPORT):
        return VIDEO
    text = data[:_TEXT_BYTES].lower()
    if b"<svg" in text:
        return "an SVG drawing; export it as PNG"
    if data.startswith(TIFF_STARTS):
        return UNREADABLE_TIFF
    if starts_picture(data):
        return "a damaged or truncated picture"
    return describe_substitute(data) or "not a picture, or in a format that this Pillow does not read"


def describe_jpeg(data: bytes) -> str:
    """Returns one line about a JPEG file of a kind that not every Pillow reads; an empty text for any other file."""
    if not data.startswith(b"\xff\xd8\xff"):
        return ""
    for kind, segment in islice(jpeg_markers(data), MAX_HEADER_MARKERS):
        if kind in _UNREAD_FRAMES:
            return "a lossless or hierarchical JPEG, which this Pillow does not read; convert it to PNG"
        if kind in _READ_FRAMES:
            if data[segment + 3 : segment + 5] == b"\0\0":
                return "a JPEG that states its height after its pixels (DNL), which Pillow does not read; convert it to PNG"
            twelve = data[segment + 2 : segment + 3] == b"\x0c"  # after the length: bits of a sample
            return "a JPEG with 12 bits, which Pillow does not read; convert it to 8 bits, or to PNG" if twelve else ""
    return ""


def _describe_ftyp(data: bytes) -> str:
    """Describes a file of ISO base media boxes by its major brand."""
    brand = data[8:12]
    if brand in HEIF_BRANDS:
        return "a HEIC photo, which Pillow does not read; pip install pillow-heif, or convert it to JPEG"
    if brand in (b"avif", b"avis"):
        from PIL import features  # not at start-up

        if features.check("avif"):
            return "a damaged or truncated AVIF image"
        return "an AVIF image, which this Pillow does not read; pip install --upgrade pillow, or convert it to JPEG"
    if brand == b"crx ":
        return RAW_FILE
    compatible = {data[at : at + 4] for at in range(16, min(len(data), int.from_bytes(data[:4])), 4)}
    return "a HEIF image of an uncommon kind; convert it to JPEG" if compatible & HEIF_BRANDS else VIDEO


def heif_is_readable(data: bytes) -> bool:
    """Returns whether a file is HEIF and pillow-heif is installed; in that case, registers its decoder with Pillow."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return False
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
