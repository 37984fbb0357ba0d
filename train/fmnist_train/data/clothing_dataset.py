"""The public "Clothing dataset" as a folder of labeled photos.

Grigorev and contributors, GitHub ``alexeygrigorev/clothing-dataset``, CC0: photos of garments on floors, beds and hangers,
taken by their owners. The table names the sender of each photo. Only photos of the senders listed here are converted for
training. Photos of other senders are reserved for evaluation.
"""

import csv
import io
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fmnist_runtime.console import counted, printable
from fmnist_runtime.errors import DataError, ImageError, reason_of
from fmnist_runtime.files import read_at_most, write_together
from fmnist_runtime.image_io.decode import open_image
from fmnist_train.data.csv import NOT_UTF8
from fmnist_train.data.photos import LONGEST_LINE, TABLE
from fmnist_train.files import bounded_lines, refuse_replacing

__all__ = ["PUBLIC_PHOTOS", "TRAINING_SENDERS", "convert_clothing_dataset"]

_logger = logging.getLogger(__name__)

_SENDERS = (
    "2 8 16 22 24 30 32 34 37 43 45 46 48 49 52 56 58 66 67 68 70 82 84 85 87 113 116 118 119 133 134 144 150 151 154 "
    "157 158 163 181 185 187 190 191 194 201 202 204 209 213 218 219 224 228 230 231 232 236 238 240 242 246 252 257 260 "
    "262 267 278 282 286 292 297 300 304 310 311 319 322 324 329 330 336 338 339 342 344 353 357 360 364 367 369"
)
TRAINING_SENDERS = frozenset(_SENDERS.split())
"""The 91 senders of the training photos."""
PUBLIC_PHOTOS = frozenset(
    [
        "475619d72bb51caa9fe3416e618a63f89a0c4a3fb3ccef58d459330f8cea1094",  # without drawn sheets of paper
        "53f1ab546a453ec489c9619a109bdd01b3a2d216f0be50aef66a9da33c4945e5",  # with 400 sheets
    ]
)
"""``PhotoData.sha256`` of these photos, as the device's preprocessing sees them, in the shipped networks' checkpoints."""

_ANSWERS = {
    "T-Shirt": "tshirt-top",
    "Top": "tshirt-top",
    "Undershirt": "tshirt-top",
    "Polo": "tshirt-top+shirt",
    "Longsleeve": "pullover+shirt",
    "Shirt": "shirt",
    "Blouse": "shirt",
    "Pants": "trouser",
    "Dress": "dress",
    "Hoodie": "pullover+coat",
    "Outwear": "coat+pullover",
    "Blazer": "coat",
    "Shoes": "sandal+sneaker+ankle-boot",
    "Hat": "none",
}
"""Classes of Fashion-MNIST that count as correct, by label in the table. Photos with other labels are left out."""
_SIDE = 320
"""Longest side of the copies, pixels: more than twice the working size of the preprocessing."""
_NAME = re.compile(r"[\w-]+")
"""Name of a photo without its suffix. With a path, a foreign table could choose where files are written."""
_COLUMNS = ("image", "sender_id", "label", "kids")


def convert_clothing_dataset(clone: Path, folder: Path) -> int:
    """Writes shrunk copies of the training photos of a clone, and their table.

    Args:
        clone: Clone of the repository, with ``images.csv`` and ``images/``.
        folder: Output, with ``train.csv`` and ``images/``.

    Returns:
        The number of photos written. Photos that are missing or cannot be read are left out, with a warning.

    Raises:
        ConfigError: One of the files exists in ``folder``.
        DataError: There is no such clone, its table has other columns, or it has no photo of a training sender.
    """
    chosen = {
        f"images/{row['image']}.jpg": [_ANSWERS[row["label"]], row["label"], row["sender_id"]]
        for row in _rows(clone / "images.csv")
        if row["sender_id"] in TRAINING_SENDERS and row["label"] in _ANSWERS
    }
    if not _was_interrupted(folder, _table([name, *row] for name, row in chosen.items())):
        refuse_replacing(folder, [TABLE, *chosen])
    photos = {name: data for name in chosen if (data := _shrink(clone / name)) is not None}
    if not photos:
        raise DataError(f"{clone}: no photo of a training sender; clone the repository with its images")
    if missing := [name for name in chosen if name not in photos]:
        _logger.warning(
            "%s: left out %s missing or unreadable, such as %s; the clone is incomplete",
            printable(str(clone)),
            counted(len(missing), "photo that is", "photos that are"),
            missing[0],
        )
    table = _table([name, *chosen[name]] for name in photos)
    # The table is first: it marks a folder that was not finished.
    write_together(folder, {TABLE: table.encode(), **photos})
    return len(photos)


def _table(rows: Iterable[list[str]]) -> str:
    """Returns the text of the output's table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["file", "answers", "label", "sender"], *rows])
    return text.getvalue()


def _was_interrupted(folder: Path, table: str) -> bool:
    """Returns whether a folder has an unchanged table of this conversion, and lacks some of its photos."""
    try:
        with (folder / TABLE).open("rb") as file:
            found = read_at_most(file, len(table.encode())).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    files = [line.partition(",")[0] for line in found[1:]]
    return set(found) <= set(table.splitlines()) and not all((folder / name).is_file() for name in files)


def _rows(table: Path) -> Iterator[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(bounded_lines(file, LONGEST_LINE))
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or [])]:
                raise DataError(f"{table}: no column '{missing[0]}'; it must be the table of the Clothing dataset")
            for row in reader:
                if not _NAME.fullmatch(row["image"] or ""):
                    raise DataError(
                        f"{table}: line {reader.line_num}: '{row['image']}' is not a valid name of an image"
                    )
                yield row
    except DataError:
        raise
    except UnicodeError as error:
        raise DataError(f"{table}: {NOT_UTF8}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{table}: not a readable table ({reason_of(error)}); name a clone of the Clothing dataset"
        ) from error


def _shrink(path: Path) -> bytes | None:
    try:
        photo = open_image(path).convert("RGB")
    except ImageError:
        return None
    photo.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
