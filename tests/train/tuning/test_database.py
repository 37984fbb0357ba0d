"""The database of a study where it cannot be written."""

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
