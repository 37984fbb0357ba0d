"""The Ray recipe: bad pictures, a killed worker, and every answer once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the recipe needs the extra `ray`")

ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()", "ray"]


@pytest.mark.slow
def test_every_picture_is_answered_once_although_a_worker_is_killed() -> None:
    """The committed proof, on fewer images."""
    command = [sys.executable, "benchmarks/studies/many_machines.py", "--images", "300"]
    for _ in range(3):  # Ray gives its own processes 30 s to start, which on a busy machine is not always enough
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if "timed out during startup" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DeprecationWarning" not in done.stderr
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("{")]  # Ray's own lines are around it
    found = json.loads(answer)
    assert found["images"] == found["answers"] == 300 and found["workers_killed"] == 1
    assert found["missing"] == found["doubled"] == found["other_answers"] == found["errors_elsewhere"] == 0
    assert found["errors"] == found["poisoned"] == 1


def test_a_source_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    command = [*RAY, str(tmp_path / "none"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "no such folder" in done.stderr and done.stderr.count("\n") == 1


def test_an_output_that_exists_is_one_clear_line(tmp_path: Path) -> None:
    command = [*RAY, str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "exists already; name a new folder" in done.stderr and done.stderr.count("\n") == 1
