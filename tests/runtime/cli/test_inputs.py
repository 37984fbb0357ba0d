"""Patterns, lists of paths, and a watched folder."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from fmnist_runtime.cli.inputs import FolderWatch, _split, expand_patterns, read_paths, watch_answers
from fmnist_runtime.errors import FileError, ImageError
from fmnist_runtime.prediction import Prediction

COMMAND = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
PREDICTION = Prediction("Bag", 8, 0.9, ())


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (28, 28), 90).save(file, "PNG")
    return file.getvalue()


def infer(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*COMMAND, *map(str, arguments)], input=stdin, capture_output=True)


def paths(done: "subprocess.CompletedProcess[bytes]") -> list[str]:
    return [Path(json.loads(line)["path"]).name for line in done.stdout.splitlines()]


def test_quoted_patterns_stand_for_their_matches_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.txt", "x[1].png", "deep/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    found = [Path(path).name for path in expand_patterns([f"{tmp_path}/?.png", f"{tmp_path}/**/d.png"])]
    assert found == ["a.png", "b.png", "d.png"]
    assert paths(infer(f"{tmp_path}/?.png", f"{tmp_path}/x[1].png", "--json")) == ["a.png", "b.png", "x[1].png"]
    missing = infer(f"{tmp_path}/*.gif", "--json")
    assert missing.returncode == 1 and "*.gif" in paths(missing)[0]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\r", b"\0"])
def test_paths_come_from_a_list(tmp_path: Path, separator: bytes) -> None:
    names = ["a b.png", "é.png", os.fsdecode(b"\xff.png")] + (["new\nline.png"] if separator == b"\0" else [])
    for name in names:
        (tmp_path / name).write_bytes(png())
    listed = separator.join(os.fsencode(tmp_path / name) for name in names)
    null = ["--null"] if separator == b"\0" else []
    done = infer("--files-from", "-", "--json", *null, stdin=listed + separator + separator)
    assert done.returncode == 0 and paths(done) == names
    (tmp_path / "list").write_bytes(listed)
    assert paths(infer("--files-from", tmp_path / "list", "--json", *null)) == names
    assert len(paths(infer(tmp_path / names[0], "--files-from", tmp_path / "list", "--json", *null))) == 1 + len(names)


def test_a_list_is_read_as_it_arrives() -> None:
    reader, writer = os.pipe()
    stdin = sys.stdin
    with open(reader) as sys.stdin, open(writer, "wb", buffering=0) as sink:  # noqa: PTH123 (descriptors)
        try:
            found = read_paths("-")
            sink.write(b"a\nb\nhalf")
            assert [next(found), next(found)] == ["a", "b"]
            sink.write(b" c\n")
            assert next(found) == "half c"
        finally:
            found.close()
            sys.stdin = stdin


def test_lists_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    done = infer("--files-from", tmp_path / "gone", "--json")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"--files-from" in done.stderr
    twice = infer("-", "--files-from", "-")
    assert twice.returncode == 2 and b"only once" in twice.stderr


def test_lists_that_windows_programs_save_are_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfa.png\r\nb.png\r\n")
    assert list(read_paths(str(tmp_path / "list"))) == ["a.png", "b.png"]
    for form in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "list").write_bytes("a.png\r\nb.png\r\n".encode(form))
        with pytest.raises(FileError, match=r"--null .* UTF-8 if it is UTF-16"):
            list(read_paths(str(tmp_path / "list")))


def test_images_that_the_command_writes_are_not_classified(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/a.png", "z.png"):
        (tmp_path / name).write_bytes(png())
    for _ in range(2):
        done = infer(tmp_path, "--show", tmp_path / "seen", "--json")
        assert done.returncode == 0 and paths(done) == ["a.png", "z.png"]
    assert b"left out 1 hidden or system name or link to a folder, " in done.stderr
    same = infer(tmp_path, "--show", tmp_path)
    assert same.returncode == 1 and b"is classified itself; name another folder" in same.stderr


def test_a_picture_in_place_of_a_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(FileError, match=r"a\.png: a picture, not a list"):
        list(read_paths(str(tmp_path / "a.png")))


class Clock:
    """Time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def polled(folder: Path) -> Callable[[float], list[str]]:
    """Watches a folder; returns a function that polls after some seconds and returns the names of the images."""
    clock = Clock()
    watch = FolderWatch(folder, 0.5, clock)

    def after(seconds: float) -> list[str]:
        clock.now += seconds
        return [Path(path).name for path in watch.poll()]

    return after


def test_each_picture_is_found_once_and_complete(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(png())
    after = polled(tmp_path)
    assert after(1) == []
    (tmp_path / "empty.png").touch()
    new = tmp_path / "new.png"
    new.write_bytes(png()[:20])
    assert after(1) == []
    new.write_bytes(png()[:40])  # still being written
    assert after(1) == []
    new.write_bytes(png())
    assert after(1) == [] and after(0.3) == [] and after(0.3) == ["new.png"]
    assert after(5) == []
    (tmp_path / "note.txt").write_text("no picture")
    os.utime(new, ns=(1, 1))  # replaced
    assert after(1) == [] and after(1) == ["new.png"]
    new.unlink()
    assert after(1) == []
    new.write_bytes(png())
    assert after(1) == [] and after(1) == ["new.png"]


def test_a_link_to_nowhere_is_found_as_an_unreadable_image(tmp_path: Path) -> None:
    after = polled(tmp_path)
    (tmp_path / "dead.png").symlink_to("nowhere")
    assert after(1) == [] and after(1) == ["dead.png"]


def test_images_of_a_folder_that_comes_back_are_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, away = tmp_path / "drive", tmp_path / "away"
    folder.mkdir()
    (folder / "old.png").write_bytes(png())
    after = polled(folder)
    (folder / "new.png").write_bytes(png())
    assert after(1) == [] and after(1) == ["new.png"]
    folder.rename(away)
    assert after(1) == after(1) == [] and caplog.messages == [
        f"{folder}: the folder is gone; waiting for it to come back"
    ]
    away.rename(folder)
    assert after(1) == after(1) == []
    folder.rename(away)
    folder.mkdir()  # the mount point of the drive
    assert after(1) == after(1) == []
    folder.rmdir()
    away.rename(folder)
    (folder / "later.png").write_bytes(png())
    assert after(1) == [] and after(1) == ["later.png"]


def test_photos_in_files_of_other_names_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.dng").write_bytes(b"II*\0")
    watch = FolderWatch(tmp_path, 0)
    assert "left out 1 camera raw file, such as " in caplog.messages[0]
    for name in ("new.dng", ".a.heic.icloud", "renamed", "a.jpg.crdownload", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"II*\0")
    caplog.clear()
    assert watch.poll() == []
    (tmp_path / "renamed").rename(tmp_path / "renamed.png")
    assert [*watch.poll(), *watch.poll(), *watch.poll()] == [str(tmp_path / "renamed.png")]
    (message,) = caplog.messages
    assert "left out 1 camera raw file, such as " in message and "new.dng" in message
    assert "1 placeholder of a photo in iCloud, such as " in message
    assert not any(name in message for name in ("crdownload", "renamed", "hidden", "notes"))


def test_images_written_into_a_watched_folder_are_not_found(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "seen").mkdir()
    watch = FolderWatch(tmp_path, 0.5, clock, output=tmp_path / "seen")
    for name in ("new.png", "seen/new.png"):
        (tmp_path / name).write_bytes(png())
    watch.poll()
    clock.now += 1
    assert watch.poll() == [str(tmp_path / "new.png")]


def test_an_unreadable_picture_is_tried_again_before_it_is_reported(tmp_path: Path) -> None:
    clock, calls = Clock(), []
    watch = FolderWatch(tmp_path, 0.5, clock)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    def classify(pictures: list[str]) -> list[Prediction | Exception]:
        calls.append(pictures)
        return [ImageError("damaged") if path.endswith("bad.png") else PREDICTION for path in pictures]

    answers: Iterator = watch_answers(classify, watch, sleep)
    (tmp_path / "bad.png").write_bytes(png()[:30])
    (tmp_path / "good.png").write_bytes(png())
    assert Path(next(answers).path).name == "good.png" and clock.now < 101
    bad = next(answers)
    assert Path(bad.path).name == "bad.png" and bad.error == "damaged" and 102 <= clock.now < 103
    assert 3 <= len(calls) <= 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_watches_a_folder(number: int, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such folder"):
        FolderWatch(tmp_path / "gone", 1)
    with pytest.raises(FileError, match=r"test_inputs\.py: not a folder"):
        FolderWatch(Path(__file__), 1)
    (tmp_path / "old.png").write_bytes(png())
    arguments = [str(tmp_path), "--watch", str(tmp_path), "--interval", "0.05", "--json", "--no-reject"]
    heard = partial(signal.signal, number, signal.SIG_DFL)  # a shell's background jobs ignore the signal
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *arguments], **pipes, preexec_fn=heard if os.name == "posix" else None) as process:
        timer = threading.Timer(60, process.kill)
        timer.start()
        assert Path(json.loads(process.stdout.readline())["path"]).name == "old.png"
        (tmp_path / "new.png").write_bytes(png())
        assert Path(json.loads(process.stdout.readline())["path"]).name == "new.png"
        process.send_signal(number)
        assert process.stderr.read() == b"interrupted\n" and process.wait() == 130
        timer.cancel()


def test_a_list_without_line_ends_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """An image, or an endless device, in place of a list of paths."""
    (tmp_path / "list").write_bytes(bytes(1 << 20))
    with pytest.raises(FileError, match="not a list of paths"):
        list(read_paths(str(tmp_path / "list")))
    if Path("/dev/zero").exists():
        with pytest.raises(FileError, match="not a list of paths"):
            list(read_paths("/dev/zero"))


def test_a_list_of_nothing_is_refused() -> None:
    """An endless device whose bytes are all separators."""

    class Separators(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            buffer[:] = b"\r\n" * (len(buffer) // 2) + b"\n" * (len(buffer) % 2)
            return len(buffer)

    with pytest.raises(FileError, match="no path in 65,536 bytes"):
        list(_split(io.BufferedReader(Separators()), b"\n"))
    if Path("/dev/zero").exists():
        with pytest.raises(FileError, match="no path in 65,536 bytes"):
            list(read_paths("/dev/zero", b"\0"))


def test_patterns_end_in_folders_with_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two links to their own folder: a search that follows links finds 2^40 paths."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.png", "deep/b.png", "deep/er/c.png", ".hidden/d.png", "deep/.e.png"):
        (folder / name).write_bytes(png())
    for name in ("one", "two", "deep/three"):
        (folder / name).symlink_to(folder, target_is_directory=True)
    names = ["a.png", "deep/b.png", "deep/er/c.png"]
    assert list(expand_patterns([f"{folder}/**/*.png"])) == [f"{folder}/{name}" for name in names]
    monkeypatch.chdir(folder)
    for pattern in ("**/*.png", "**", "**/**/*.png", "[d]eep/../**/*.png"):
        found = [os.path.normpath(path) for path in expand_patterns([pattern])]
        assert found == names, pattern
    assert list(expand_patterns(["../**/c.png"])) == [f"../{folder.name}/deep/er/c.png"]
    assert list(expand_patterns(["one/**/c.png"])) == ["one/deep/er/c.png"]  # a link that was named is followed
    assert list(expand_patterns(["a**.png"])) == ["a.png"]
