"""CSV files as people have them: columns by name, byte order marks, quotes; anything else refused in one line."""

import csv
import gzip
import io
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_runtime.errors import DataError
from fmnist_train import files
from fmnist_train.data import fashion_mnist
from fmnist_train.data.csv import read_csv
from fmnist_train.data.fashion_mnist import CSV_FILES
from fmnist_train.data.sources import find_dataset
from fmnist_train.data.splits import Split

NUMBERED = [f"pixel{number}" for number in range(1, 785)]
SPELLINGS = {
    "pixel1": NUMBERED,
    "pixel0": [f"pixel{number}" for number in range(784)],
    "Pixel_1": [f"Pixel_{number}" for number in range(1, 785)],
    "px1": [f"px{number}" for number in range(1, 785)],
    "1": [str(number) for number in range(1, 785)],
    "1x1": [f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)],
    "0x0": [f"{row}x{column}" for row in range(28) for column in range(28)],
}


def write(path: Path, names: Sequence[str], rows: np.ndarray, **form: str | int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **{"lineterminator": "\n", **form})
        writer.writerow(names)
        writer.writerows(rows.tolist())
    return path


@pytest.fixture
def rows(small: dict[str, Split]) -> np.ndarray:
    """Five rows: the label before 784 pixels."""
    split = small["train"]
    return np.column_stack([split.labels[:5], split.images[:5].reshape(5, -1)])


def test_a_cut_file_is_searched_without_parsing_each_value(
    rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kaggle's file of 60,000 rows took a minute; a download that was cut is the usual case."""
    path = write(tmp_path / "cut.csv", ["label", *NUMBERED], np.tile(rows, (400, 1)))
    path.write_text(path.read_text()[:-500])
    monkeypatch.setattr("fmnist_train.data.csv._is_byte", lambda _: pytest.fail("parses a plain number"))
    with pytest.raises(DataError, match=r"line 2001 has \d+ columns, not 785; the file is damaged"):
        read_csv(path)


@pytest.fixture
def matches(rows: np.ndarray) -> Callable[[Path], bool]:
    """Whether a file is read as the five rows."""

    def check(path: Path) -> bool:
        images, labels = read_csv(path)
        return np.array_equal(labels, rows[:, 0]) and np.array_equal(images.reshape(5, -1), rows[:, 1:])

    return check


@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("label", ["label", "Class"])
def test_usual_spellings(names: list[str], label: str, rows: np.ndarray, matches, tmp_path: Path) -> None:
    assert matches(write(tmp_path / "a.csv", [label, *names], rows))


@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS)
def test_columns_in_any_order(names: list[str], rows: np.ndarray, matches, tmp_path: Path) -> None:
    """A published copy has its columns in alphabetical order: pixel1, pixel10, pixel100."""
    named = ["label", *names]
    for order in (np.argsort(named), np.r_[1:785, 0], np.random.default_rng(0).permutation(785)):
        assert matches(write(tmp_path / "a.csv", [named[place] for place in order], rows[:, order]))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()),
        lambda text: "\n".join([text.splitlines()[0], *(line.replace(",", ".0,") for line in text.splitlines()[1:])]),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace("\n", "\n\n") + "\n  \n",
    ],
    ids=["byte order mark", "CRLF", "quotes", "9.0", "spaces", "empty lines"],
)
def test_usual_forms(change: Callable[[str], str], rows: np.ndarray, matches, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], rows)
    path.write_bytes(change(path.read_text("utf-8")).encode())
    assert matches(path)


REFUSED = {
    "no header": (lambda text: text.partition("\n")[2], "first line holds numbers in place of column names"),
    "nothing": (lambda text: "", "the file is empty, or its first line is"),
    "an empty line": (lambda text: "\n" + text, "the file is empty, or its first line is"),
    "no label": (lambda text: text.replace("label", "kind"), "no column 'label'"),
    "two labels": (lambda text: text.replace("pixel784", "class"), "several columns for the label"),
    "an index": (lambda text: text.replace("pixel784", "id"), "a column 'id'"),
    "a pixel twice": (lambda text: text.replace("pixel784", "pixel783"), "not the 784 pixels once each"),
    "pixels from 2": (lambda text: text.replace("pixel1,", "pixel785,"), "not the 784 pixels once each"),
    "semicolons": (lambda text: text.replace(",", ";"), "with commas between"),
    "half a pixel": (lambda text: text.replace("\n9,0,", "\n9,0.5,", 1), "line 2, pixel1: '0.5' is not a whole number"),
    "not a number": (lambda text: text.replace("\n9,0,", "\n9,nan,", 1), "line 2, pixel1: 'nan' is not a whole number"),
    "no value": (lambda text: text.replace("\n9,0,", "\n9,,", 1), "line 2, pixel1: '' is not a whole number"),
    "cut": (lambda text: text[:-100], "line 6 has"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(change: Callable[[str], str], message: str, rows: np.ndarray, tmp_path: Path) -> None:
    rows[0, :2] = 9, 0
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], rows)
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DataError) as error:
        read_csv(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


class Endless(io.RawIOBase):
    """A file without line ends, which counts the bytes that it gives."""

    def __init__(self, beginning: str) -> None:
        self.left, self.given = beginning.encode(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        self.left = self.left or b"1," * len(buffer)
        count = min(len(buffer), len(self.left))
        buffer[:count], self.left = self.left[:count], self.left[count:]
        self.given += count
        return count


@pytest.mark.parametrize("beginning", ["", ",".join(["label", *NUMBERED]) + "\n"], ids=["header", "row"])
def test_an_endless_line_is_refused_in_bounded_memory(beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Endless] = []
    monkeypatch.setattr(Path, "open", lambda *_: opened.append(Endless(beginning)) or io.BufferedReader(opened[-1]))
    with pytest.raises(DataError, match=r"^a\.csv: line [12]: a line of more than 40,000 characters"):
        read_csv(Path("a.csv"))
    assert all(file.given < 100_000 for file in opened)


def test_a_line_without_end_in_a_real_file(rows: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], rows)
    with path.open("a", encoding="utf-8") as file:
        file.write("1," * 100_000)
    with pytest.raises(DataError, match=r"a\.csv: line 7: a line of more than 40,000 characters"):
        read_csv(path)


def test_the_longest_lines_that_programs_write_are_read(rows: np.ndarray, matches, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(["label", *NUMBERED]), comments="")
    assert "2.5500" in path.read_text() or "e+0" in path.read_text()
    assert matches(path)


def test_a_fault_before_bytes_that_are_no_text_is_one_line(rows: np.ndarray, tmp_path: Path) -> None:
    """The search for the faulty line reads further than the parser did."""
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], np.tile(rows, (900, 1)))
    content = path.read_bytes().replace(b"\n", b"\n1_0", 3)
    path.write_bytes(content + b"\xff" * 20)
    with pytest.raises(DataError) as error:
        read_csv(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_quote_that_is_not_closed_has_its_own_line(tmp_path, write_csv_folder):
    path = write_csv_folder(tmp_path / "own") / "fashion-mnist_train.csv"
    lines = path.read_text().splitlines()
    lines[2] = '"' + lines[2]
    path.write_text("\n".join(lines * 2))
    with pytest.raises(DataError, match=r"csv: line 3: a quote is not closed$"):
        read_csv(path)


def test_a_gzipped_file_is_read_as_the_plain_one(rows: np.ndarray, matches, tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", ["label", *NUMBERED], rows)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert matches(packed)
    assert matches(packed.rename(tmp_path / "c.csv")), "the content decides"
    packed.write_bytes((tmp_path / "c.csv").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"b\.csv\.gz: cannot be read, the file is damaged or incomplete"):
        read_csv(packed)
    with pytest.raises(DataError, match=r"a\.csv\.gz: cannot be read, the file is damaged or incomplete"):
        read_csv(plain.rename(tmp_path / "a.csv.gz"))


def test_gzipped_and_plain_parts_may_be_mixed(tmp_path: Path, write_csv_folder, small: dict[str, Split]) -> None:
    folder = write_csv_folder(tmp_path / "own")
    test = folder / CSV_FILES["test"]
    Path(f"{test}.gz").write_bytes(gzip.compress(test.read_bytes()))
    test.unlink()
    found = find_dataset(data_dir=folder).load("test")
    assert np.array_equal(found.images, small["test"].images)


def test_a_bomb_of_rows_is_refused(rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write(tmp_path / "a.csv", ["label", *NUMBERED], rows).read_bytes()
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(content))
    monkeypatch.setattr(files, "UNPACKED_LIMIT", len(content))
    assert len(read_csv(packed)[1]) == 5
    monkeypatch.setattr(files, "UNPACKED_LIMIT", len(content) - 1)
    with pytest.raises(DataError, match=rf"b\.csv\.gz: unpacks to more than {len(content) - 1:,} bytes"):
        read_csv(packed)


def test_a_bomb_of_empty_lines_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """100 kB that unpack to 100 MB."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"label,{','.join(NUMBERED)}\n".encode() + b"\n" * 100_000_000, 1))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.csv\.gz: .*more than 3,000,000 lines"):
        read_csv(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named_with_and_without_its_mark(encoding: str, rows: np.ndarray, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], rows)
    path.write_text(path.read_text("utf-8"), encoding)
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_csv(path)


def test_other_data_is_reported_as_for_idx(tmp_path: Path, write_csv_folder, caplog: pytest.LogCaptureFixture) -> None:
    find_dataset(data_dir=write_csv_folder(tmp_path / "own")).load("train")
    assert "not the published Fashion-MNIST" in caplog.text and CSV_FILES["train"] in caplog.text


def test_published_data_in_another_order_is_reported(
    tmp_path: Path, small, write_csv_folder, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    test = small["test"]
    digest = fashion_mnist._unordered_sha256(test.images[::-1], test.labels[::-1])
    monkeypatch.setitem(fashion_mnist._PUBLISHED_SETS, "test", digest)
    find_dataset(data_dir=write_csv_folder(tmp_path / "own")).load("test")
    assert "the published Fashion-MNIST in another order" in caplog.text
    swapped = np.r_[test.labels[1:], test.labels[:1]]
    assert fashion_mnist._unordered_sha256(test.images, swapped) != digest


@pytest.mark.full_data
def test_published_sets_are_those_of_the_published_files(full_data) -> None:
    split = full_data.load("test")
    assert fashion_mnist._unordered_sha256(split.images, split.labels) == fashion_mnist._PUBLISHED_SETS["test"]


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1), removed=st.integers(0, 40), inserted=st.binary(max_size=20))
def test_mutated_csv_is_right_or_refused(place: float, removed: int, inserted: bytes, tmp_path: Path) -> None:
    """Replaces some bytes anywhere: the file is read as 28×28 images, or refused in one line."""
    rows = np.zeros((3, 785), int)
    path = tmp_path / "a.csv"
    content = write(path, ["label", *NUMBERED], rows).read_bytes()
    start = int(place * len(content))
    path.write_bytes(content[:start] + inserted + content[start + removed :])
    try:
        images, labels = read_csv(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert images.shape == (len(labels), 28, 28) and images.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize(
    "cell", ["1_0", "１２", "٣", "0x10", "nan", "1e1_0", "1,5", "1;5", "\u00a07", "1 2", "--1", "-0x1", "²"]
)
@pytest.mark.parametrize("column", ["label", "pixel3"])
def test_a_cell_that_is_no_number_is_named_with_its_line(cell: str, column: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], np.zeros((3, 785), int))
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[["label", *NUMBERED].index(column)] = f'"{cell}"'
    lines[2] = ",".join(cells)
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(DataError) as error:
        read_csv(path)
    assert str(error.value) == f"{path}: line 3, {column}: '{cell}' is not a whole number from 0 to 255"


@pytest.mark.parametrize("cell", ["9", "9.0", "9.", "+9", "9e0", " 9", "0.9e1", "09"])
def test_other_spellings_of_a_whole_number_are_accepted(cell: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["label", *NUMBERED], np.zeros((3, 785), int))
    path.write_text(path.read_text().replace("\n0,0,", f"\n{cell},0,", 1))
    assert read_csv(path)[1].tolist() == [9, 0, 0]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(separator: str, name: str, rows: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"the columns are separated by {name}: save the file with commas"):
        read_csv(write(tmp_path / "a.csv", ["label", *NUMBERED], rows, delimiter=separator))


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_index_of_pandas_is_named(name: str, rows: np.ndarray, tmp_path: Path) -> None:
    indexed = np.column_stack([np.arange(5), rows])
    with pytest.raises(DataError, match=r"an index of pandas .*index=False"):
        read_csv(write(tmp_path / "a.csv", [name, "label", *NUMBERED], indexed))


def spreadsheet(rows: np.ndarray, change: Callable[[list[list[str]]], object], end: str = "\r\n") -> str:
    """The file with its cells changed, as Excel writes it: a byte order mark and CRLF."""
    cells = [["label", *NUMBERED], *([str(value) for value in row] for row in rows.tolist())]
    change(cells)
    return "\ufeff" + "".join(",".join(row) + end for row in cells)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda cells: cells.insert(0, ["sep="]), r"the first line is Excel's 'sep=': delete it"),
        (lambda cells: [row.extend(["", ""]) for row in cells], "2 columns without a name at the end, as of a spreadsheet"),
        (lambda cells: cells[0].append(""), "1 column without a name at the end"),
        (lambda cells: [row.append("") for row in cells[1:]], "line 2 has 786 columns, not 785; the last are empty"),
        (lambda cells: [row.insert(0, str(line)) for line, row in enumerate(cells[1:])],
         r"line 2 has 786 columns, not 785; the first may be the row's name: .*row.names = FALSE"),
        (lambda cells: cells[3].append("7"), "line 4 has 786 columns, not 785; the file is damaged"),
        (lambda cells: cells[2].__setitem__(0, "Ankle boot"), "line 3, label: 'Ankle boot' is not .*; write the class's number, 9"),
        (lambda cells: cells[2].__setitem__(9, '"9,0"'), "line 3, pixel9: '9,0' is not a whole number"),
        (lambda cells: cells[2].__setitem__(9, ""), "line 3, pixel9: '' is not a whole number"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_did_to_the_file_is_named(
    change: Callable[[list[list[str]]], object], fault: str, rows: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "train.csv").write_text(spreadsheet(rows, change), "utf-8", newline="")
    with pytest.raises(DataError, match=fault):
        read_csv(tmp_path / "train.csv")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_empty_rows_of_a_spreadsheet_are_left_out(
    end: str, rows: np.ndarray, matches: Callable[[Path], bool], tmp_path: Path
) -> None:
    text = spreadsheet(rows, lambda cells: [cells.insert(place, [""] * 785) for place in (3, 5, 8)], end)
    (tmp_path / "train.csv").write_text(text, "utf-8", newline="")
    assert matches(tmp_path / "train.csv")
