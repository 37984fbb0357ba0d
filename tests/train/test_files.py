"""Two trainings cannot write into one folder, and a killed one leaves no lock behind."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fmnist_runtime.errors import ConfigError, FileError
from fmnist_train import files
from fmnist_train.cli import app
from fmnist_train.console import run_typer
from fmnist_train.files import lock_folder, read_object, split_at_section, temporary_folder

QUICK = "--recipe custom --channels 4 --hidden 8 --data sample --epochs 1 --quiet".split()  # noqa: SIM905 (legible)
HOLD = """
import sys, time, pathlib
from fmnist_train.files import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_is_refused_until_the_first_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            assert run_typer(app, args=[*QUICK, "--output", str(tmp_path)]) == 2
            assert f"another process is training into {tmp_path}" in capsys.readouterr().err
            assert {path.name for path in tmp_path.iterdir()} <= {".fmnist-lock"}
        finally:
            holder.kill()
    with lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_excludes_and_is_released(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(ConfigError, match="give another --output"), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        assert (tmp_path / ".fmnist-lock").exists()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_lock", lambda descriptor: refuse(errno.ENOLCK))
    with lock_folder(tmp_path):
        assert (tmp_path / ".fmnist-lock").exists()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(files, "_lock", lambda descriptor: refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), lock_folder(tmp_path):
        pass


def test_a_damaged_object_counts_as_missing(tmp_path: Path) -> None:
    for content in ("", "{", "[]", "[" * 100_000, '{"a": 1}'):
        (tmp_path / "a.json").write_text(content)
        assert read_object(tmp_path / "a.json") == ({"a": 1} if content.startswith('{"a') else {})


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_page_in_another_encoding_is_named(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("für", encoding)
    with pytest.raises(FileError, match=r"README\.md: not UTF-8 text"):
        split_at_section(tmp_path / "README.md", "table", "a command")


def fail_among_temporary_files(error: Exception) -> None:
    with temporary_folder() as folder:
        (folder / "file").write_bytes(b"content")
        raise error


CAUSED_BY_SPACE = [RuntimeError("Protobuf serialization failed."), OSError("784 requested and 96 written")]
OTHERS = [FileError("for the user"), MemoryError(), PermissionError(errno.EACCES, "Permission denied", "elsewhere")]


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("error", CAUSED_BY_SPACE, ids=repr)
def test_a_lack_of_space_behind_an_error_without_a_reason_is_named(error: Exception) -> None:
    with pytest.raises(OSError, match="File too large") as caught:
        fail_among_temporary_files(error)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, tempfile.gettempdir())


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_an_error_with_a_reason_is_not_one_of_space(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        fail_among_temporary_files(error)
    assert caught.value is error


@pytest.mark.parametrize("error", CAUSED_BY_SPACE + OTHERS, ids=repr)
def test_an_error_where_there_is_space_stays(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        fail_among_temporary_files(error)
    assert caught.value is error


def test_temporary_files_are_removed() -> None:
    with temporary_folder() as folder:
        (folder / "file").write_bytes(b"content")
    assert not folder.exists()


def test_a_lock_leaves_the_files_of_others(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("mine")
    with lock_folder(tmp_path):
        pass
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(".lock", "mine")]
