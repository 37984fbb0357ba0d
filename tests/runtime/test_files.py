"""Files are read in bounded memory, and written whole or not at all."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import threading
import tracemalloc
from pathlib import Path

import pytest

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.drift.counts import read_counts
from fmnist_runtime.errors import DataError, FileError, ImageError, ModelError
from fmnist_runtime.files import check_folder, make_folder, read_at_most, write_atomically, write_together
from fmnist_runtime.image_io.decode import open_image

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 473000\n"
ARCHIVES = {
    "a ZIP archive": b"PK\3\4" + bytes(60),
    "a bzip2 file": bz2.compress(b"x"),
    "an xz file": lzma.compress(b"x"),
    "a Zstandard file": b"\x28\xb5\x2f\xfd\x20\1\x09\0\0x",
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
    "a RAR archive": b"Rar!\x1a\7\1\0",
}
WORKBOOK = b"PK\3\4" + bytes(26) + b"[Content_Types].xml" + bytes(60)
PAGE = b"\xef\xbb\xbf\r\n\n<!DOCTYPE html>\n<html lang=en><title>Page not found</title>" + b"<p>x</p>" * 500


class Pipe:
    """A source that returns at most ``piece`` bytes a read, and counts the requested bytes."""

    def __init__(self, data: bytes, piece: int) -> None:
        self.file, self.piece, self.largest = io.BytesIO(data), piece, 0

    def read(self, size: int, /) -> bytes:
        self.largest = max(self.largest, size)
        return self.file.read(min(size, self.piece))


@pytest.mark.parametrize("size", [0, 5, 10, 99])
@pytest.mark.parametrize(("length", "found"), [(0, 0), (9, 9), (10, 10), (11, 11), (5000, 11)])
def test_reading_stops_one_byte_after_the_limit(length: int, found: int, size: int) -> None:
    data = bytes(i % 251 for i in range(length))
    assert read_at_most(io.BytesIO(data), 10, size) == data[:found]
    assert read_at_most(Pipe(data, 3), 10, size) == data[:found]


def test_memory_follows_the_file_not_the_limit() -> None:
    pipe = Pipe(b"short", 100)
    assert read_at_most(pipe, 1 << 40) == b"short" and pipe.largest <= (1 << 20) + 1


@pytest.mark.parametrize("length", [7 << 20, 1 << 40])
def test_an_endless_source_is_held_in_memory_once(length: int) -> None:
    class Zeros:
        left = length

        def read(self, size: int, /) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    limit = 8 << 20
    tracemalloc.start()
    try:
        found = len(read_at_most(Zeros(), limit))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == min(length, limit + 1) and peak < 1.5 * limit


def test_text_and_bytes_replace_a_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.txt"
    write_atomically(path, "größe")
    assert path.read_bytes() == "größe".encode()
    write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00" and list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.bin"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(path, b"new")
    assert error.value.filename == str(path) and str(error.value).endswith(f": '{path}'")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_concurrent_writers_leave_one_whole_result(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    contents = [bytes([n]) * 50_000 for n in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(path, data)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"cannot write into .*file/x .*name another folder"):
        make_folder(tmp_path / "file" / "x")


def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    """As root, a renaming would turn /dev/null into a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"content")
        assert os.read(reader, 100) == b"content" and pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
    finally:
        os.close(reader)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    target, near, far = tmp_path / "store" / "x.bin", tmp_path / "store" / "near", tmp_path / "far"
    target.parent.mkdir()
    target.write_bytes(b"old")
    near.symlink_to("x.bin")
    far.symlink_to(near)
    with target.open("rb") as earlier:
        write_atomically(far, b"new")
        assert earlier.read() == b"old"  # a reader of the old file is not disturbed
    assert far.is_symlink() and near.is_symlink() and target.read_bytes() == b"new" and not target.is_symlink()
    (tmp_path / "new").symlink_to("store/new")
    write_atomically(tmp_path / "new", b"new")
    assert (tmp_path / "new").is_symlink() and (tmp_path / "store" / "new").read_bytes() == b"new"
    (tmp_path / "nowhere").symlink_to("gone/x")
    with pytest.raises(OSError, match="No such file") as error:
        write_atomically(tmp_path / "nowhere", b"new")
    assert error.value.filename == str(tmp_path / "nowhere")
    assert {path.name for path in tmp_path.rglob("*")} == {"store", "x.bin", "near", "far", "new", "nowhere"}


@pytest.mark.parametrize("name", [".", "..", "/", "folder", "link"])
def test_a_folder_is_no_file_to_write(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError) as error:
        write_atomically(Path(name), b"content")
    assert error.value.filename == name
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IsADirectoryError) as error:
        write_together(tmp_path, {"a": b"content", "folder": b"content"})
    assert error.value.filename == str(tmp_path / "folder") and sorted(tmp_path.rglob("*")) == before


def test_links_to_each_other_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).symlink_to(other)
    write_atomically(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_an_open_file_is_written_in_place(tmp_path: Path) -> None:
    """As root, a renaming would turn ``/dev/stdout``, a link to such a name, into a file."""
    link = tmp_path / "stdout"
    with (tmp_path / "output").open("wb", buffering=0) as file:
        file.write(b"before ")
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        write_atomically(link, b"content")
        file.write(b" after")
        assert os.path.samestat(os.fstat(file.fileno()), (tmp_path / "output").stat())
    assert link.is_symlink() and (tmp_path / "output").read_bytes() == b"before content after"
    assert {path.name for path in tmp_path.iterdir()} == {"stdout", "output"}


def test_the_longest_name_of_a_file_system_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_check_of_a_folder_creates_nothing(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"cannot write into .*file .*name another folder"):
        check_folder(tmp_path / "file" / "x")


@pytest.mark.parametrize("writes", range(3))
def test_files_are_written_together_or_not_at_all(writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"a": b"1", "deep/b": b"2", "c": b"3"}
    write_together(tmp_path / "new", contents)
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()} == {
        "a": b"1",
        "b": b"2",
        "c": b"3",
    }
    before, left = sorted((tmp_path / "new").rglob("*")), [writes]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_together(tmp_path / "new", dict.fromkeys(contents, b"new"), remove=["a", "c"])
    assert error.value.filename == str(tmp_path / "new" / list(contents)[writes])
    assert sorted((tmp_path / "new").rglob("*")) == before and (tmp_path / "new" / "a").read_bytes() == b"1"


def test_links_in_a_folder_stay_as_those_to_single_files_do(tmp_path: Path) -> None:
    folder, store = tmp_path / "folder", tmp_path / "store"
    for path in (folder, store / "deep"):
        path.mkdir(parents=True)
    (store / "a").write_bytes(b"old")
    (store / "gone").write_bytes(b"earlier")
    (folder / "a").symlink_to(store / "a")
    (folder / "new").symlink_to(store / "new")
    (folder / "deep").symlink_to(store / "deep")
    (folder / "gone").symlink_to(store / "gone")
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        files = ("a", "deep/b", "new", "pipe")
        write_together(folder, {name: name.encode() for name in files}, remove=["gone"])
        assert os.read(reader, 100) == b"pipe" and (folder / "pipe").is_fifo()
    finally:
        os.close(reader)
    assert all((folder / name).is_symlink() for name in ("a", "new", "deep")) and not (folder / "gone").is_symlink()
    assert {path.name: path.read_bytes() for path in store.rglob("*") if path.is_file()} == {
        "a": b"a",
        "b": b"deep/b",
        "new": b"new",
        "gone": b"earlier",
    }


def test_only_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in ("old", "young"):
        (tmp_path / f".fmnist-unfinished-{name}").mkdir()
        (tmp_path / f".fmnist-unfinished-{name}" / "a").write_bytes(b"half")
    os.utime(tmp_path / ".fmnist-unfinished-old", (1, 1))
    (tmp_path / "b").write_bytes(b"earlier")
    write_together(tmp_path, {"a": b"whole"}, remove=["b", "gone"])
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".fmnist-unfinished-young"}


@pytest.mark.parametrize("together", [False, True])
def test_only_old_temporary_files_of_dead_processes_are_removed(together: bool, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as running:
        ended.wait()
        removed = [f".fmnist-{process}-1" for process in (ended.pid, os.getpid())]
        kept = [
            f".fmnist-{ended.pid}-2",
            ".fmnist-notes",
            ".fmnist-unfinished-file",
            ".fmnist-1-2.txt",
            "fmnist-1-2",
            "a.fmnist-1-2",
        ]
        if Path("/proc/self").exists():
            kept.append(f".fmnist-{running.pid}-1")
        for name in (*removed, *kept):
            (tmp_path / name).write_bytes(b"half")
        kept.append(f".fmnist-{ended.pid}-3")
        (tmp_path / kept[-1]).mkdir()
        for name in (*removed, *kept[1:]):  # the first one is new
            os.utime(tmp_path / name, (1, 1))
        if together:
            write_together(tmp_path, {"a": b"whole"})
        else:
            write_atomically(tmp_path / "a", b"whole")
        assert {path.name for path in tmp_path.iterdir()} == {"a", *kept}


def test_a_folder_is_searched_once_for_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: (searched.append(path), iterdir(path))[1])
    for name in ("a", "b", "c"):
        write_atomically(tmp_path / name, b"content")
    assert searched == [tmp_path]


@pytest.mark.parametrize("name", ["model.onnx", "model.ort"])
@pytest.mark.parametrize(
    ("content", "advice"),
    [(POINTER, "git lfs pull"), (PAGE, "a web page.*download the raw file")]
    + [(data, f"{kind}; unpack it first") for kind, data in ARCHIVES.items()]
    + [(WORKBOOK, "a document of an office program; save its table as CSV, or its picture as PNG or JPEG")],
)
def test_what_was_saved_in_place_of_a_file_is_named(content: bytes, advice: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ModelError, match=advice):
        Classifier.load(path)
    with pytest.raises(DataError, match=advice):
        read_counts(path)
    with pytest.raises(ImageError, match=advice):
        open_image(path)


def test_a_gzipped_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(gzip.compress(b"x"))
    with pytest.raises(ModelError, match="a gzip file; unpack it first"):
        Classifier.load(tmp_path / "model.onnx")
