"""The database of a study where it cannot be written."""

import contextlib
import socket
import sqlite3
from pathlib import Path

import pytest

from fmnist_runtime.errors import CheckpointError
from fmnist_train.tuning import database


def test_a_study_without_space_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_files: None
) -> None:
    monkeypatch.setattr(database, "_ATTEMPTS", 1)
    with pytest.raises(
        CheckpointError, match=r"opened here \(.*disk.*\); make space there, or raise the limit on file"
    ):
        database.open_study(tmp_path, "", prune_after=5, epochs=1)


def test_a_locked_file_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_LOCK_NOTE", 0)
    first = database.open_study(tmp_path, "", prune_after=5, epochs=1)
    notes: list[str] = []
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db", check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        def note(line: str) -> None:
            notes.append(line)
            other.rollback()

        again = database.open_study(tmp_path, "", prune_after=5, epochs=1, note=note)
        assert again.study_name == first.study_name
        assert notes == [f"{tmp_path}/study.db is locked by another program: waiting up to 60 s"]
        monkeypatch.setattr(database, "_LOCK_WAIT", 0.2)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CheckpointError, match=r"study\.db: another program keeps it locked"):
            database.open_study(tmp_path, "", prune_after=5, epochs=1)


def test_a_database_with_several_studies_has_one_for_each_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    names = [database.open_study(tmp_path / name, url, prune_after=5, epochs=1).study_name for name in ("a", "b", "a")]
    assert names == ["a", "b", "a"]


def test_a_damaged_file_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite calls its content a disk image."""
    monkeypatch.setattr(database, "_ATTEMPTS", 1)
    database.open_study(tmp_path, "", prune_after=5, epochs=1)
    whole = (tmp_path / "study.db").read_bytes()
    (tmp_path / "study.db").write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(CheckpointError, match="no study of fmnist-train tune can be opened here") as refusal:
        database.open_study(tmp_path, "", prune_after=5, epochs=1)
    assert "make space" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # it beats in ``optimize`` alone
def test_a_number_that_no_process_has_is_that_of_an_ended_one(tmp_path: Path) -> None:
    study = database.open_study(tmp_path, "", prune_after=5, epochs=1)
    trial = study.ask()
    trial.set_user_attr(database._PROCESS, [socket.gethostname(), 10**20])
    database.release_trials(study)
    assert study.trials[0].state.name == "FAIL"
