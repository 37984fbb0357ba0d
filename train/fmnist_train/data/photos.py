"""A folder of labeled photos: a table ``train.csv``, and the photos that it lists.

| column | content |
|---|---|
| ``file`` | path of the photo, relative to the folder |
| ``answers`` | every class that counts as correct, joined by ``+`` (``pullover+coat``), or ``none``: a rejection is correct |
| ``label`` | label in the source of the photo; may be empty |
| ``sender`` | name or number of the sender; validation holds out all photos of a sender |
| ``part`` | optional: ``train`` or ``validation``, in place of the built-in division of senders |

Class names are slugs of the data set's labels: ``T-shirt/top`` is ``tshirt-top``, ``Ankle boot`` is ``ankle-boot``.
"""

import csv
import hashlib
import logging
import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fmnist_runtime.console import counted, printable
from fmnist_runtime.errors import ConfigError, DataError, ImageError, reason_of
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.missing import describe_missing
from fmnist_train.data.csv import NOT_UTF8, describe_separator
from fmnist_train.data.folder_checks import hash_files, of_equal_size
from fmnist_train.files import bounded_lines

__all__ = ["LONGEST_LINE", "NONE", "PHOTOS_ORIGIN", "TABLE", "Photo", "read_photos", "slug", "split_by_sender"]

_logger = logging.getLogger(__name__)

TABLE = "train.csv"
"""Name of the table in the folder."""
LONGEST_LINE = 100_000
"""Largest length of a table's line in characters: far more than a path and some labels need."""
NONE = "none"
"""Entry in ``answers`` for a photo that shows none of the classes."""
PHOTOS_ORIGIN = (
    "photos come from the public 'Clothing dataset' (CC0): clone https://github.com/alexeygrigorev/clothing-dataset, run "
    "'fmnist-train photos CLONE FOLDER', then add --photos FOLDER"
)
"""Advice in the error message if a recipe needs photos and none were given."""

_COLUMNS = ("file", "answers", "label", "sender")
_PARTS = ("train", "validation")
_SHOWN_FAULTS = 10
"""Largest number of further faulty lines that a message names."""
_SPLIT_SALT = 1781
"""Number hashed with each sender: of 2,000 candidates, the one whose validation photos best match the class shares of all."""
_VALIDATION_SHARE = 0.15
"""Share of the senders held out for validation. Their photos give a standard error of about 2 percentage points."""


@dataclass(frozen=True)
class Photo:
    """One row of the table."""

    path: Path
    """Path of the photo."""
    answers: tuple[int, ...]
    """Class ids that count as correct; empty if a rejection is correct."""
    sender: str
    """Name or number of the sender."""
    part: str = ""
    """``train`` or ``validation``; empty: chosen by a hash of the sender."""


def slug(label: str) -> str:
    """Returns the name of a class in tables and folders: lower case, without slashes and spaces."""
    return label.lower().replace("-", "").replace("/", "-").replace(" ", "-")


def read_photos(folder: Path, labels: Sequence[str]) -> list[Photo]:
    """Reads the table of a folder, and checks every row and every photo.

    Args:
        folder: Folder with ``train.csv``.
        labels: Names of the classes; the position is the class id.

    Raises:
        DataError: A table, column or photo is missing, a class is unknown, a photo cannot be read, a file is listed twice, a
            sender is in both parts, or there are no rows; the message contains file and line.
    """
    table = folder / TABLE
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(bounded_lines(file, LONGEST_LINE))
            filled = (row for row in reader if any(map(str, row.values())))  # spreadsheets write rows of empty cells
            rows = [(reader.line_num, row) for row in filled]
            columns = reader.fieldnames or []
    except UnicodeError as error:
        raise DataError(f"{table}: {NOT_UTF8}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{table}: not a readable table of photos ({reason_of(error)}); {PHOTOS_ORIGIN}") from error
    if fault := describe_separator(columns, len(_COLUMNS) - 1):
        raise DataError(f"{table}: line 1: {fault}")
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise DataError(f"{table}: line 1: no column '{missing[0]}'; the columns are {', '.join(_COLUMNS)}")
    if twice := [name for name in (*_COLUMNS, "part") if columns.count(name) > 1]:
        raise DataError(f"{table}: line 1: the column '{twice[0]}' is there twice; remove one")
    if part := next((name for name in columns if name != "part" and name.strip().lower() == "part"), None):
        raise DataError(f"{table}: line 1: the column '{part}' must be called 'part'")
    if not rows:
        raise DataError(f"{table}: line 1: holds no photos below its header")
    classes = _numbers(labels)
    photos = [_photo(folder, row, classes, f"{table}: line {line}") for line, row in rows]
    _check_files(photos, [f"{table}: line {line}" for line, _ in rows])
    _check_senders(photos, [f"{table}: line {line}" for line, _ in rows])
    return photos


def _numbers(labels: Sequence[str]) -> dict[str, int]:
    """Returns the class ids by the names of the classes in tables.

    Raises:
        ConfigError: Two classes have the same name there.
    """
    classes: dict[str, int] = {}
    for number, label in enumerate(labels):
        name = slug(label)
        if name == NONE:
            raise ConfigError(f"'{NONE}' is what a table of photos calls no class: rename the class '{label}'")
        if name in classes:
            first = labels[classes[name]]
            raise ConfigError(f"the classes '{first}' and '{label}' are both '{name}' in a table of photos: rename one")
        classes[name] = number
    return classes


def split_by_sender(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Divides photos into training and validation so that no sender is in both.

    The column ``part`` decides where it is filled in, else a hash of the sender: equal on every machine. A validation photo
    that is also in training, under another name, gives a warning.

    Raises:
        ConfigError: One of the two parts is empty.
    """
    held_out = [photo.part == "validation" if photo.part else _is_held_out(photo.sender) for photo in photos]
    parts = [[p for p, held in zip(photos, held_out, strict=True) if held == wanted] for wanted in (False, True)]
    if not all(parts):
        raise ConfigError(
            "the photos of too few senders leave nothing to train on or to validate with: add senders, or fill in a "
            "column 'part' with train and validation"
        )
    _report_copies(*parts)
    return parts[0], parts[1]


def _report_copies(train: Sequence[Photo], validation: Sequence[Photo]) -> None:
    """Warns about validation photos whose file is also a training photo."""
    held_out = {photo.path for photo in validation}
    digests = hash_files(of_equal_size(photo.path for photo in (*train, *validation)))
    learned = {digest for path, digest in digests.items() if path not in held_out}
    if copies := [path for path, digest in digests.items() if path in held_out and digest in learned]:
        _logger.warning(
            "%s: %s also under another name and sender in training; the accuracy on photos is too high",
            printable(str(copies[0])),
            f"this and {counted(len(copies) - 1, 'more validation photo')} are" if len(copies) > 1 else "this is",
        )


def _photo(folder: Path, row: dict[str, str], classes: dict[str, int], place: str) -> Photo:
    if None in row.values() or None in row:
        raise DataError(f"{place}: the number of fields differs from the header's")
    names = row["answers"].split("+")
    if unknown := [name for name in names if name not in classes and name != NONE]:
        raise DataError(f"{place}: unknown class '{unknown[0]}'; known: {', '.join(classes)}, {NONE}")
    if NONE in names and len(names) > 1:
        raise DataError(f"{place}: '{NONE}' is combined with a class; give one or the other")
    part = row.get("part", "")
    if part and part not in _PARTS:
        raise DataError(f"{place}: unknown part '{part}'; known: {', '.join(_PARTS)}")
    if "\0" in row["file"]:
        raise DataError(f"{place}: the file's name holds a NUL byte; the table is damaged")
    if not row["file"]:
        raise DataError(f"{place}: no file; give the path of the photo")
    sender = row["sender"].strip()  # spreadsheets keep blanks that nobody sees
    if not sender:
        raise DataError(f"{place}: no sender; give each person a name or number")
    return Photo(_find(folder / row["file"]), tuple(sorted({classes[n] for n in names if n != NONE})), sender, part)


def _find(path: Path) -> Path:
    """Returns the path in the Unicode form in which it exists: a Mac's archives decompose the names of files."""
    forms = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((form for form in forms if os.path.isfile(form)), path)  # noqa: PTH113 (is_file raises for a long name)


def _check_files(photos: Sequence[Photo], places: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for photo, place in zip(photos, places, strict=True):
        if (resolved := os.path.realpath(photo.path)) in seen:  # Path.resolve raises for a link to itself
            raise DataError(f"{place}: {photo.path.name} is in the table twice, first in {seen[resolved]}")
        seen[resolved] = place.rpartition(": ")[2]
    with ThreadPoolExecutor() as threads:
        found = zip(places, threads.map(_fault, photos), strict=True)
        faults = [(place, fault) for place, fault in found if fault]
    if faults:
        (place, fault), *others = faults
        shown = ", ".join(place.rpartition(": ")[2] for place, _ in others[:_SHOWN_FAULTS])
        more = f"; {len(others):,} more missing or unreadable: {shown}" if others else ""
        more += ", ..." if len(others) > _SHOWN_FAULTS else ""
        raise DataError(f"{place}: {fault}{more}; correct the names, replace the photos, or remove their lines")


def _fault(photo: Photo) -> str | None:
    """Returns the reason why a photo cannot be read; None if it can be read."""
    if not os.path.isfile(photo.path):  # noqa: PTH113 (see _find)
        cause = None if os.path.lexists(photo.path) else describe_missing(str(photo.path))
        return f"{photo.path}: no such file{f' ({cause})' if cause else ''}"
    try:
        open_image(photo.path)
    except ImageError as error:
        return f"{photo.path}: cannot be read as an image ({error})"
    return None


def _check_senders(photos: Sequence[Photo], places: Sequence[str]) -> None:
    parts: dict[str, str] = {}
    for photo, place in zip(photos, places, strict=True):
        if parts.setdefault(photo.sender, photo.part) != photo.part:
            raise DataError(
                f"{place}: sender '{photo.sender}' is in both training and validation; give all of a sender's photos "
                "the same part"
            )


def _is_held_out(sender: str) -> bool:
    digest = hashlib.sha256(f"{_SPLIT_SALT}:{sender}".encode()).hexdigest()
    return int(digest[:8], 16) / 16**8 < _VALIDATION_SHARE
