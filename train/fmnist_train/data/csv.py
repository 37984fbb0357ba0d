"""Fashion-MNIST as CSV: a line with column names, then one line per image. Columns are found by name, in any order.

Pixels are named ``pixel1`` to ``pixel784`` or ``1x1`` to ``28x28`` (row by column), in upper or lower case. Numbers may
start at 0, and ``px`` or nothing may stand for ``pixel``. The class is in ``label``, ``class``, ``target`` or ``y``.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from fmnist_runtime.console import counted
from fmnist_runtime.errors import DataError
from fmnist_runtime.spec import DATASET_LABELS, IMAGE_SIZE
from fmnist_train.files import bounded_lines, open_unpacked

__all__ = ["NOT_UTF8", "describe_separator", "read_csv"]

NOT_UTF8 = "not UTF-8 text; save it as CSV UTF-8"
"""Fault of a file in another encoding, with what to do."""

_PIXELS = IMAGE_SIZE * IMAGE_SIZE
_LABELS = ("label", "class", "target", "y")
_NUMBERED = re.compile(r"(?:pixel|px)?[ _-]?(\d{1,3})")
_BY_ROW_AND_COLUMN = re.compile(r"(?:pixel|px)?[ _-]?(\d{1,2})x(\d{1,2})")
_LONGEST_LINE = 40_000
"""Largest length of a line in characters: twice that of 785 numbers from ``numpy.savetxt``, the longest known format.
Without a limit, a file without line ends would fill the memory."""
_NUMBER = re.compile(r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
"""A number in ASCII digits. ``float`` also accepts ``1_0`` and digits of other scripts."""
_PLAIN_BYTES = frozenset(map(str, range(256)))
"""Values as nearly all files have them."""
_FOREIGN = re.compile(r"[^0-9.eE+\-, \t\r\n\"]")
"""A character that no line of numbers contains."""
_CHUNK = 1000
"""Lines parsed at a time, which bounds memory."""
_EXPECTED = "a label and pixel1 to pixel784 (or 1x1 to 28x28), in any order, with commas between"


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads one CSV file, gzipped or not.

    A byte order mark, CRLF, quotes and ``9.0`` for 9 are accepted.

    Returns:
        uint8 images ``[N, 28, 28]`` and uint8 labels ``[N]``.

    Raises:
        DataError: The file is unreadable, truncated or too long, has other columns, or a value is not a whole number from
            0 to 255.
    """
    names: list[str] = []
    try:
        with open_unpacked(path) as packed, io.TextIOWrapper(packed, "utf-8-sig") as file:
            lines = bounded_lines(file, _LONGEST_LINE)
            names = _split(next(lines, ""))
            label, pixels = _find_columns(path, names)
            rows = _read_rows(lines, len(names))
    except DataError:
        raise
    except UnicodeError as error:
        raise DataError(f"{path}: {NOT_UTF8}") from error
    except ValueError as error:
        raise DataError(f"{path}: {_first_fault(path, names) or error}") from error
    images = rows[:, pixels].reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(images), rows[:, label].copy()


def _split(line: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([line]), [])]
    except csv.Error:
        return []


def _find_columns(path: Path, names: Sequence[str]) -> tuple[int, list[int]]:
    """Returns the position of the label, and the positions of the pixels in row-major order.

    Raises:
        DataError: The file has other columns, or no header.
    """
    if names and all(re.fullmatch(r"[\d.]+", name) for name in names) and len(names) in (_PIXELS, _PIXELS + 1):
        raise DataError(f"{path}: the first line holds numbers in place of column names: {_EXPECTED}")
    if not any(names):
        raise DataError(f"{path}: the file is empty, or its first line is: it must name {_EXPECTED}")
    if fault := describe_separator(names, _PIXELS):
        raise DataError(f"{path}: {fault}")
    labels = [place for place, name in enumerate(names) if name in _LABELS]
    if len(labels) != 1:
        fault = "several columns for the label" if labels else "no column 'label'"
        raise DataError(f"{path}: {fault} in the first line, which must name {_EXPECTED}")
    places = [place for place in range(len(names)) if place != labels[0]]
    for pattern, firsts in ((_NUMBERED, (0, 1)), (_BY_ROW_AND_COLUMN, (0, IMAGE_SIZE + 1))):
        matches = {place: match for place in places if (match := pattern.fullmatch(names[place]))}
        found = {_number(match): place for place, match in matches.items()}
        if len(found) == len(places) == _PIXELS and min(found) in firsts and max(found) - min(found) == _PIXELS - 1:
            return labels[0], [found[number] for number in sorted(found)]
    raise DataError(
        f"{path}: {_describe_columns([names[place] for place in places])} in the first line, which must name {_EXPECTED}"
    )


def describe_separator(names: Sequence[str], separators: int) -> str | None:
    """Returns what to do if the names are separated by semicolons, tabs or bars; None if they are not.

    Args:
        names: First line, divided at its commas.
        separators: Smallest number of separators in a line.
    """
    if names and names[0].startswith("sep="):
        return "the first line is Excel's 'sep=': delete it, so that the names of the columns come first"
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) < separators and sum(text.count(separator) for text in names) >= separators:
            return f"the columns are separated by {name}: save the file with commas between them"
    return None


def _number(match: re.Match[str]) -> int:
    """Returns the number of a pixel in row-major order; the first pixel has 0 or 1, and ``1x1`` has 29."""
    first, *rest = map(int, match.groups())
    return IMAGE_SIZE * first + rest[0] if rest else first


def _describe_columns(names: Sequence[str]) -> str:
    """Describes the first column whose name is not that of a pixel; if there is none, the number of columns."""
    if empty := _empty_at_end(names):
        return f"{counted(empty, 'column')} without a name at the end, as of a spreadsheet (delete them there),"
    if any(not name or name.startswith("unnamed:") for name in names):
        return "a column without a name, as of an index of pandas (leave it out: to_csv(..., index=False)),"
    for name in names:
        if not _NUMBERED.fullmatch(name) and not _BY_ROW_AND_COLUMN.fullmatch(name):
            return f"a column '{name[:40]}'"
    return f"{len(names)} columns that are not the {_PIXELS} pixels once each"


def _empty_at_end(cells: Sequence[str]) -> int:
    """Returns how many of the last cells of a row are empty."""
    return next((count for count, cell in enumerate(reversed(cells)) if cell.strip()), len(cells))


def _read_rows(lines: Iterable[str], columns: int) -> np.ndarray:
    """Parses lines into uint8 ``[N, columns]``. Empty lines, and rows of empty cells, are left out.

    Raises:
        ValueError: A line has another number of columns, or a value is not a byte.
    """
    filled = (line for line in lines if line.strip(", \t\r\n"))
    parts = []
    while chunk := list(islice(filled, _CHUNK)):
        rows = _parse(chunk)
        if rows.shape[1] != columns:
            raise ValueError(f"{rows.shape[1]} columns in a line, not {columns}")
        parts.append(rows)
    return np.concatenate(parts) if parts else np.empty((0, columns), np.uint8)


def _parse(lines: list[str]) -> np.ndarray:
    if any(map(_FOREIGN.search, lines)):
        raise ValueError("a value is not a number")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # older NumPy only warns when it cuts 0.5 to 0
        try:
            return np.loadtxt(lines, np.uint8, delimiter=",", comments=None, ndmin=2, quotechar='"')
        except (ValueError, Warning):  # parsing as floats takes four times as long
            numbers = np.loadtxt(lines, np.float64, delimiter=",", comments=None, ndmin=2, quotechar='"')
    if not np.all((numbers >= 0) & (numbers <= 255) & (numbers == np.rint(numbers))):
        raise ValueError("a value is not a whole number from 0 to 255")
    return numbers.astype(np.uint8)


def _first_fault(path: Path, names: Sequence[str]) -> str | None:
    """Describes the first faulty line of a file that could not be parsed, by a slow parser; None if no line is faulty."""
    with open_unpacked(path) as packed, io.TextIOWrapper(packed, "utf-8-sig", newline="") as file:
        reader = csv.reader(bounded_lines(file, _LONGEST_LINE))
        begin = 1  # of a row: a quote may contain line breaks, or never end
        try:
            for row in reader:
                if begin > 1 and (fault := _describe_row(names, row, is_first=begin == 2)):
                    return f"line {begin}{fault}"
                begin = reader.line_num + 1
        except csv.Error as error:
            return f"line {begin}: {'a quote is not closed' if reader.line_num > begin else error}"
        except ValueError as error:
            return f"line {begin}: {error}"
    return None


def _describe_row(names: Sequence[str], row: Sequence[str], *, is_first: bool) -> str | None:
    """Describes the fault of a row, to follow its number; None without a fault, and for a row of empty cells."""
    if not any(map(str.strip, row)):
        return None
    if len(row) != len(names):
        spare = len(row) - _empty_at_end(row) == len(names)
        advice = "the last are empty: delete them in the spreadsheet" if spare else "the file is damaged"
        if is_first and len(row) == len(names) + 1 and not spare:
            advice = "the first may be the row's name: write none (in R, row.names = FALSE)"
        return f" has {len(row)} columns, not {len(names)}; {advice}"
    if _PLAIN_BYTES.issuperset(row):  # nearly all rows, in a tenth of the time
        return None
    for name, value in zip(names, row, strict=True):
        if not _is_byte(value):
            is_class = name in _LABELS and value.strip() in DATASET_LABELS
            advice = f"; write the class's number, {DATASET_LABELS.index(value.strip())}" if is_class else ""
            return f", {name}: '{value[:20]}' is not a whole number from 0 to 255{advice}"
    return None


def _is_byte(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None and 0 <= float(value) <= 255 and float(value).is_integer()
