"""A bounded share of the fuzz study, and the limits that it enforces."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"
SEEDED = """
import sys
import fuzz, fuzz_targets

def read(data):
    if data[0] == 0:
        raise KeyError("defect")
    while data[0] == 1:
        pass
    if data[0] == 2:
        bytes(bytearray(600 << 20))
    if data[0] == 3:
        raise fuzz_targets.FmnistError("two\\nlines")

fuzz.SECONDS = 5
fuzz_targets.TARGETS["seeded"] = fuzz_targets.Target(lambda: [b"\4"], lambda data, rng: None, read)
fuzz.mutant = lambda target, files, number, seed: bytes([4 - number % 5])
fuzz.__file__ = sys.argv[0]
sys.exit(fuzz.main())
"""


def run(*arguments: object, code: str | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, code or STUDIES / "fuzz.py", *map(str, arguments)]
    path = ":".join([str(STUDIES), *sys.path])
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("target", ["image", "model", "checkpoint", "idx", "csv", "drift", "form"])
def test_damaged_input_is_read_or_refused(target: str, tmp_path: Path) -> None:
    """Half of the inputs have random damage, half a changed structure."""
    count = 1000 if target == "image" else 150
    done = run("--targets", target, "--inputs", count, "--keep", tmp_path / "findings")
    assert done.returncode == 0, done.stdout + done.stderr
    read, refused = map(int, re.findall(r"all .*: (\d+) read (\d+) refused 0 faults", done.stdout.replace(",", ""))[0])
    assert read + refused == count and read and refused


def test_defects_hangs_and_memory_are_found(tmp_path: Path) -> None:
    script = tmp_path / "seeded.py"
    script.write_text(SEEDED)
    done = run("--targets", "seeded", "--inputs", 5, "--keep", tmp_path / "findings", code=str(script))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "4 faults" in done.stdout
    for outcome in ("KeyError 1", "hang 1", "read 1", "unclear-message 1"):
        assert outcome in done.stdout
    assert re.search(r"\d{3,4} MB 1", done.stdout)
    assert len(list((tmp_path / "findings").iterdir())) == 4
