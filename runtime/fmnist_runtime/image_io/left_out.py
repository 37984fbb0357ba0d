"""What a folder holds: images, and what is left out: hidden names, archives, videos, and photos in formats that need converting."""

import os
from collections.abc import Iterator, Sequence

from fmnist_runtime.errors import printable

__all__ = [
    "ALIAS_START",
    "EXTENSIONS",
    "HEIF_BRANDS",
    "TIFF_STARTS",
    "describe_hidden",
    "is_archive",
    "is_hidden",
    "is_passed_over",
    "is_unfinished",
    "starts_picture",
]

EXTENSIONS = frozenset([
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".icns", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp", ".xbm", ".xpm",
])  # fmt: skip
"""Extensions of images in a folder. A file given by name is opened whatever its extension.

HEIC is included so that phone photos that Pillow cannot read are reported as errors instead of left out."""
_SYSTEM_NAMES = frozenset([
    "#recycle", "#snapshot", "$recycle.bin", "@__thumb", "@eadir", "@recently-snapshot", "@recycle", "__macosx",
    "lost+found", "network trash folder", "recycler", "system volume information", "temporary items",
    "thumbs.db", "~snapshot",
])  # fmt: skip
"""Names, in lower case, of files and folders that archivers, Windows, Linux and network storage create among images."""
_RAW = frozenset([
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
])  # fmt: skip
"""Extensions of the raw files of cameras."""
_CONVERTIBLE = frozenset([
    ".ai", ".emf", ".eps", ".hdp", ".jxl", ".jxr", ".kra", ".pdf", ".psb", ".svg", ".svgz", ".wdp", ".wmf", ".xcf",
])  # fmt: skip
"""Extensions of further formats that show pictures and that Pillow does not read, or reads with other programs only."""
_ARCHIVES = frozenset([".7z", ".livp", ".rar", ".tar", ".tgz", ".zip"])
"""Extensions of archives, which may hold photos, or a whole class of a data set; ``.livp`` holds a photo and its video."""
_VIDEOS = frozenset([
    ".3gp", ".avi", ".flv", ".h264", ".h265", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".webm", ".wmv",
])  # fmt: skip
"""Extensions of videos."""
_NO_PICTURES = frozenset([
    ".aae", ".bin", ".bz2", ".c", ".cfg", ".css", ".csv", ".db", ".doc", ".docx", ".gz", ".h", ".h5", ".htm", ".html",
    ".identifier", ".ini", ".ipynb", ".jgw", ".js", ".json", ".jsonl", ".log", ".m4a", ".mat", ".md", ".mp3", ".npy",
    ".npz", ".onnx", ".parquet", ".pkl", ".pt", ".pth", ".py", ".pyc", ".safetensors", ".sh", ".sqlite", ".toml", ".ts",
    ".tsv", ".txt", ".url", ".wav", ".xls", ".xlsx", ".xml", ".xmp", ".xz", ".yaml", ".yml", ".zst",
])  # fmt: skip
"""Extensions of frequent files beside images. They are not opened: a data set may hold one for each image."""
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files, with the low and the high byte first."""
_STARTS = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8"),
    *(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "),  # JPEG 2000, bare and in a JP2 file
    *TIFF_STARTS,
)
"""First bytes of JPEG, PNG, GIF, JPEG 2000 and TIFF files; ``starts_picture`` also recognizes WebP, HEIF and AVIF."""
HEIF_BRANDS = frozenset([b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"])
"""Major brands of HEIF files (ISO/IEC 23008-12, annex B)."""
_FTYP_BRANDS = HEIF_BRANDS | {b"avif", b"avis"}
"""Major brands of files with pictures: others with an ``ftyp`` box are videos."""
_PLACEHOLDER = ".icloud"
"""Extension of the small file that stands for a photo which is stored in iCloud only."""
_CLOUD_PLACEHOLDERS = frozenset([".nextcloud", ".owncloud"])
"""Extensions of the empty files that stand for photos which are stored on these servers only."""
_SHORTCUT = ".lnk"
"""Extension of the small file that stands for a file or folder elsewhere on Windows."""
ALIAS_START = b"book\0\0\0\0mark"
"""First bytes of the small file that stands for a file or folder elsewhere on a Mac."""
_UNFINISHED = frozenset([".crdownload", ".part", ".partial"])
"""Extensions that browsers give to files while they download them, in lower case."""
_LIBRARIES = (".aplibrary", ".photolibrary", ".photoslibrary")
"""Extensions of the photo libraries of a Mac: folders that hold each photo at least twice, as original and as preview."""
_ADVICE = {
    "raw": ("camera raw file", "camera raw files", "export as JPEG or PNG"),
    "icloud": ("placeholder of a photo in iCloud", "placeholders of photos in iCloud", "download the photos first"),
    "cloud": ("placeholder of a photo in a cloud", "placeholders of photos in a cloud", "download the photos first"),
    "alias": ("alias or shortcut", "aliases or shortcuts", "put the original in its place"),
    "unfinished": ("unfinished download", "unfinished downloads", "finish or repeat the download"),
    "archive": ("archive", "archives", "unpack first"),
    "library": ("photo library", "photo libraries", "export the photos from the program first"),
    "video": ("video", "videos", "export frames as PNG or JPEG"),
    "other": ("file of another format", "files of other formats", "export as JPEG or PNG"),
    "unnamed": (
        "picture without a known extension",
        "pictures without a known extension",
        "add .jpg or .png to the name",
    ),
}
"""For each kind of file: its name in the singular and plural, and what to do."""


def is_hidden(name: str) -> bool:
    """Returns whether a name is that of a program's internal file or folder, not of the user's.

    Editors and systems use a leading dot (``.ipynb_checkpoints``, ``.Trash-1000``, the ``._photo.jpg`` of a Mac). Archives
    made on a Mac have the folder ``__MACOSX``. A photo library, which a Mac shows as one file, belongs to a program, too.
    """
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES or name.lower().endswith(_LIBRARIES)


def is_passed_over(path: str) -> bool:
    """Returns whether a file may hold photos although its name is not that of a readable image; see ``describe_hidden``."""
    name = os.path.basename(path)  # noqa: PTH119 (a Path would take longer; so below)
    if is_hidden(name):
        return _kind(name) in ("icloud", "library")
    kind = _kind(name)
    return kind != "" and (kind != "unnamed" or (start := _read_start(path)) == ALIAS_START or starts_picture(start))


def is_archive(path: str) -> bool:
    """Returns whether the name is that of an archive, which the project does not unpack."""
    return _kind(path) == "archive"


def is_unfinished(path: str) -> bool:
    """Returns whether the name is that of a file which a browser has not downloaded to its end."""
    return _kind(path) == "unfinished"


def describe_hidden(paths: Sequence[str]) -> str:
    """Returns a clause with the number of names that were left out, by kind, the first of each kind, and what to do."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_kind_left_out(path), []).append(path)
    return "left out " + "; ".join(_describe(groups))


def _describe(groups: dict[str, list[str]]) -> Iterator[str]:
    for kind in ("", *_ADVICE):
        if not (paths := groups.get(kind, [])):
            continue
        one = len(paths) == 1
        if kind:
            what, advice = _ADVICE[kind][0 if one else 1], f" ({_ADVICE[kind][2]})"
        else:
            what, advice = "hidden or system names and links to folders", ""
            what = "hidden or system name or link to a folder" if one else what
        yield f"{len(paths):,} {what}, such as {printable(paths[0])}{advice}"


def _kind(name: str) -> str:
    """Returns the kind of a file by its extension: a key of ``_ADVICE``, or an empty text for an image and any other file.

    A file of kind ``unnamed`` may be a picture: its first bytes decide.
    """
    extension = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if extension in _RAW:
        return "raw"
    if extension in _VIDEOS:
        return "video"
    if extension in _CONVERTIBLE:
        return "other"
    if extension in _ARCHIVES:
        return "archive"
    if extension in _UNFINISHED:
        return "unfinished"
    if extension == _PLACEHOLDER:
        return "icloud"
    if extension in _CLOUD_PLACEHOLDERS:
        return "cloud"
    if extension == _SHORTCUT:
        return "alias"
    if extension in _LIBRARIES:
        return "library"
    return "" if extension in EXTENSIONS or extension in _NO_PICTURES else "unnamed"


def _kind_left_out(path: str) -> str:
    """Returns the kind of a path that was left out; an empty text for hidden names, most folders, and links to nowhere."""
    name = os.path.basename(path)  # noqa: PTH119
    kind = _kind(name)
    if kind == "library":
        return kind
    if kind == "unnamed" and _read_start(path) == ALIAS_START:
        kind = "alias"
    # A path in an object store is no local folder either. A link that cannot be followed may lead to one.
    is_folder = os.path.isdir(path) or (os.path.islink(path) and not os.path.exists(path))  # noqa: PTH110, PTH112, PTH114
    return kind if not is_folder and (kind == "icloud" or not is_hidden(name)) else ""


def _read_start(path: str) -> bytes:
    """Returns the first twelve bytes of a file; none if it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(12)
    except OSError:
        return b""


def starts_picture(start: bytes) -> bool:
    """Returns whether these are the first bytes of a file in a common image format; twelve are enough."""
    is_ftyp = start[4:8] == b"ftyp" and start[8:12] in _FTYP_BRANDS
    return start.startswith(_STARTS) or start[8:12] == b"WEBP" or is_ftyp
