"""IDX and CSV: the same arrays from each, and no damaged file taken."""

import dataclasses
import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_runtime.errors import DataError
from fmnist_train import files
from fmnist_train.data.idx import idx_sha256, read_idx, write_idx
from fmnist_train.data.sources import find_dataset

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def test_all_formats_give_identical_arrays(tmp_path, small, write_idx_folder, write_csv_folder):
    folders = (
        write_idx_folder(tmp_path / "gz", ".gz"),
        write_idx_folder(tmp_path / "plain", ""),
        write_csv_folder(tmp_path / "csv"),
    )
    for folder in folders:
        for part, expected in small.items():
            split = find_dataset(data_dir=folder).load(part)
            assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
            assert np.array_equal(split.images, expected.images)
            assert np.array_equal(split.labels, expected.labels)


def test_arrays_can_be_written_to(tmp_path, write_idx_folder, write_csv_folder):
    for folder in (write_idx_folder(tmp_path / "idx"), write_csv_folder(tmp_path / "csv")):
        split = find_dataset(data_dir=folder).load("train")
        assert split.images.flags.writeable
        assert split.labels.flags.writeable


def test_another_file_of_the_right_shape_is_taken_with_a_warning(tmp_path, write_idx_folder, caplog):
    folder = write_idx_folder(tmp_path / "own")
    assert len(find_dataset(data_dir=folder).load("train")) == 60
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "not the published Fashion-MNIST" in caplog.text
    assert IMAGES in caplog.text


def test_sample_gives_no_warning(caplog):
    find_dataset("sample").load("test")
    assert caplog.text == ""


def test_test_split_is_only_read_on_request(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own", "")
    (folder / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    source = find_dataset(data_dir=folder)
    assert len(source.load("train")) == 60
    with pytest.raises(DataError):
        source.load("test")


def test_idx_written_twice_is_the_same_file(tmp_path, small):
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, small["train"].images)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert np.array_equal(read_idx(tmp_path / "a.gz", 3)[0], small["train"].images)


HEADER = bytes((0, 0, 8, 3)) + struct.pack(">3I", 60, 28, 28)
DAMAGED_IMAGES = {
    "empty": (b"", "not an IDX file"),
    "some other file": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an IDX file"),
    "of floats": (bytes((0, 0, 0x0D, 3)) + HEADER[4:] + bytes(60 * 784 * 4), "not an IDX file of bytes"),
    "swapped with the labels": (bytes((0, 0, 8, 1, 0, 0, 0, 60)) + bytes(60), "holds labels, not images"),
    "cut in the header": (HEADER[:9], "truncated"),
    "cut in the pixels": (HEADER + bytes(60 * 784 - 1), "holds only 47,039"),
    "without pixels": (HEADER, "holds only 0"),
    "too long": (HEADER + bytes(60 * 784 + 1), "holds more"),
    "a lying header": (HEADER[:4] + b"\xff" * 12 + bytes(100), "states"),
    "a lying header without images": (HEADER[:4] + bytes(4) + b"\xff" * 8, "states"),
    "of another size": (HEADER[:4] + struct.pack(">3I", 60, 14, 56) + bytes(60 * 784), "28×28"),
    "fewer than labels": (HEADER[:4] + struct.pack(">3I", 59, 28, 28) + bytes(59 * 784), "59 images but 60 labels"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("content", "message"), DAMAGED_IMAGES.values(), ids=DAMAGED_IMAGES)
def test_damaged_images_are_refused(tmp_path, write_idx_folder, content, message, suffix):
    folder = write_idx_folder(tmp_path / "own", suffix)
    (folder / (IMAGES + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    assert_refused(folder, message)
    assert_refused(folder, f"{IMAGES}{suffix}: ")


def test_truncated_gzip_is_refused(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own")
    file = folder / f"{IMAGES}.gz"
    file.write_bytes(file.read_bytes()[:-1000])
    assert_refused(folder, "damaged or incomplete")


def test_flipped_byte_in_gzip_is_refused(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own")
    file = folder / f"{IMAGES}.gz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert_refused(folder, "")


def test_gzipped_file_without_the_extension_is_read(tmp_path, write_idx_folder, small):
    folder = write_idx_folder(tmp_path / "own")
    for name in (IMAGES, LABELS):
        (folder / f"{name}.gz").rename(folder / name)
    assert np.array_equal(find_dataset(data_dir=folder).load("train").images, small["train"].images)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_zip_archive_in_place_of_a_file_is_named(tmp_path, write_idx_folder, suffix):
    folder = write_idx_folder(tmp_path / "own", suffix)
    (folder / (IMAGES + suffix)).write_bytes(b"PK\x03\x04" + bytes(99))
    assert_refused(folder, f"{IMAGES}{suffix}: a ZIP archive; unpack it first")


def test_plain_file_named_gz_is_refused(tmp_path, write_idx_folder, small):
    folder = write_idx_folder(tmp_path / "own")
    write_idx(tmp_path / "plain", small["train"].images)
    (tmp_path / "plain").rename(folder / f"{IMAGES}.gz")
    assert_refused(folder, "damaged or incomplete")


def test_labels_outside_the_classes_are_refused(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own")
    write_idx(folder / f"{LABELS}.gz", np.full(60, 10, np.uint8))
    assert_refused(folder, f"{LABELS}.gz: a label is 10, but the classes are 0 to 9")


@pytest.mark.parametrize("write", ["idx", "csv"])
def test_images_scaled_to_one_are_refused(write, tmp_path, small, write_idx_folder, write_csv_folder, monkeypatch):
    for part, split in small.items():
        monkeypatch.setitem(small, part, dataclasses.replace(split, images=(split.images > 64).astype(np.uint8)))
    folder = (write_idx_folder if write == "idx" else write_csv_folder)(tmp_path / "own")
    assert_refused(folder, "no pixel is over 1, and white is 255; multiply the pixels by 255")


def test_no_images_at_all_are_refused(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own")
    write_idx(folder / f"{IMAGES}.gz", np.empty((0, 28, 28), np.uint8))
    write_idx(folder / f"{LABELS}.gz", np.empty(0, np.uint8))
    assert_refused(folder, f"{IMAGES}.gz: holds no images")


def test_no_labels_at_all_are_refused(tmp_path, write_idx_folder):
    folder = write_idx_folder(tmp_path / "own")
    write_idx(folder / f"{LABELS}.gz", np.empty(0, np.uint8))
    assert_refused(folder, f"{LABELS}.gz: holds no labels")


NAMES = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])
ROW = ",".join(["3"] + ["0"] * 784)
DAMAGED_CSV = {
    "empty": "",
    "only names": NAMES + "\n",
    "no names": f"{ROW}\n{ROW}\n",
    "a pixel of 256": f"{NAMES}\n{ROW[:-1]}256\n",
    "a negative pixel": f"{NAMES}\n{ROW[:-1]}-1\n",
    "a fraction": f"{NAMES}\n{ROW[:-1]}0.5\n",
    "text": f"{NAMES}\n{ROW[:-1]}x\n",
    "a missing pixel": f"{NAMES}\n{ROW[:-2]}\n",
    "cut in the last line": f"{NAMES}\n{ROW}\n{ROW[:100]}\n",
    "a label of 10": f"{NAMES}\n10{ROW[1:]}\n",
    "no number": f"{NAMES}\n{ROW}\nü\n",
}


@pytest.mark.parametrize("content", DAMAGED_CSV.values(), ids=DAMAGED_CSV)
def test_damaged_csv_is_refused(tmp_path, write_csv_folder, content):
    folder = write_csv_folder(tmp_path / "own")
    (folder / "fashion-mnist_train.csv").write_text(content, encoding="utf-8")
    assert_refused(folder, "fashion-mnist_train.csv")


def assert_refused(folder, message):
    with pytest.raises(DataError) as error:
        find_dataset(data_dir=folder).load("train")
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_was_named_in_place_of_the_files_has_advice(tmp_path, write_idx_folder):
    file = write_idx_folder(tmp_path / "idx") / f"{LABELS}.gz"
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz': a file; name the folder that holds it"):
        find_dataset(data_dir=file)
    (tmp_path / "things" / "sofa").mkdir(parents=True)
    with pytest.raises(DataError, match="class folders are read with --data;"):
        find_dataset(data_dir=tmp_path / "things")
    (tmp_path / "things" / "fashion-mnist_train.XLSX").touch()
    with pytest.raises(DataError, match=r"export fashion-mnist_train\.XLSX as CSV;"):
        find_dataset(data_dir=tmp_path / "things")


def test_missing_files_are_named(tmp_path, write_idx_folder, write_csv_folder):
    folder = write_idx_folder(tmp_path / "idx")
    (folder / f"{LABELS}.gz").unlink()
    with pytest.raises(DataError, match=rf"does not hold all IDX files: {LABELS} missing"):
        find_dataset(data_dir=folder)
    folder = write_csv_folder(tmp_path / "csv")
    (folder / "fashion-mnist_test.csv").unlink()
    with pytest.raises(DataError, match=r"does not hold all CSV files: fashion-mnist_test\.csv missing"):
        find_dataset(data_dir=folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither the four IDX files nor both CSV files; needed are train-images-idx3"):
        find_dataset(data_dir=tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        find_dataset(data_dir=tmp_path / "nowhere")


def test_a_tilde_is_expanded(tmp_path, write_idx_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_idx_folder(tmp_path / "own")
    assert len(find_dataset(data_dir="~/own").load("train")) == 60


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    place=st.integers(0, 40),
    inserted=st.binary(max_size=8),
    cut=st.integers(0, 60),
    suffix=st.sampled_from(["", ".gz"]),
)
def test_mutated_idx_is_right_or_refused(place, inserted, cut, suffix, tmp_path):
    """Replaces bytes in the header or cuts the end: an array of the promised shape, or one line."""
    plain = HEADER[:4] + struct.pack(">3I", 2, 28, 28) + bytes(2 * 784)
    content = gzip.compress(plain, mtime=0) if suffix else plain
    mutated = content[:place] + inserted + content[place + len(inserted) :]
    path = tmp_path / f"images{suffix}"
    path.write_bytes(mutated[: len(mutated) - cut] if cut < len(mutated) else b"")
    try:
        array, digest = read_idx(path, 3)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert array.ndim == 3 and array.dtype == np.uint8 and digest == idx_sha256(array)


def test_a_bomb_is_refused(tmp_path, monkeypatch) -> None:
    """A file that unpacks to more than any data set has, whatever its header states."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 5, 28, 28) + bytes(5 * 784)))
    monkeypatch.setattr(files, "UNPACKED_LIMIT", 3000)
    with pytest.raises(DataError, match=r"a\.gz: unpacks to more than 3,000 bytes"):
        read_idx(path, 3)


def test_a_file_without_permission_is_named_as_such(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"^a: cannot be read \(Permission denied\)$"):
        read_idx(Path("a"), 3)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_memory_follows_the_file_and_not_its_header(suffix: str, tmp_path) -> None:
    path = tmp_path / f"a{suffix}"
    content = struct.pack(">4B3I", 0, 0, 8, 3, 2_500_000, 28, 28) + bytes(100)
    path.write_bytes(gzip.compress(content) if suffix else content)
    tracemalloc.start()
    with pytest.raises(DataError, match="states 1,960,000,000 bytes, and it holds only 100"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
