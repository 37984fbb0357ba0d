"""The command as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def infer(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    code = "from fmnist_runtime.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], input=stdin, capture_output=True)


def lines(done: "subprocess.CompletedProcess[bytes]") -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_folder_in_json() -> None:
    done = infer(EXAMPLES, "--json", "--top-k", 2)
    answers = lines(done)
    assert done.returncode == 0 and done.stderr == b""
    assert [Path(a["path"]).name for a in answers] == sorted(p.name for p in EXAMPLES.glob("*.jpg"))
    for answer in answers:
        assert len(answer["top"]) == 2
        assert answer["rejected"] == (answer["label"] is None) == (answer["class_id"] is None)


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = infer(tmp_path / "bad.png", EXAMPLES / "trouser.jpg", tmp_path / "gone.png", "--json", "--no-reject")
    bad, good, gone = lines(done)
    assert done.returncode == 1
    assert "not a picture" in bad["error"] and bad["label"] is None and "error" in gone
    assert good["label"] is not None
    assert done.stderr.count(b"\n") == 2 and b"Traceback" not in done.stderr


def test_standard_input() -> None:
    done = infer("-", "--json", "--no-reject", stdin=(EXAMPLES / "shirt.jpg").read_bytes())
    from_file = lines(infer(EXAMPLES / "shirt.jpg", "--json", "--no-reject"))
    assert lines(done) == [{**from_file[0], "path": "-"}]


def test_show_writes_what_the_network_saw(tmp_path: Path) -> None:
    assert infer(EXAMPLES / "shirt.jpg", "--show", tmp_path / "seen").returncode == 0
    (picture,) = (tmp_path / "seen").iterdir()
    with Image.open(picture) as sheet:
        assert sheet.size == (568, 280)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"name at least one"),
        (["x.png", "--model", "nothing.onnx"], 1, b"no such model"),
        (["x.png", "--top-k", "0"], 2, b"top-k"),
        (["x.png", "--provider", "abacus"], 2, b"unknown provider"),
        (["x.png", "--sha256", "12"], 1, b"SHA-256"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, message: bytes) -> None:
    done = infer(*arguments)
    assert done.returncode == code and message in done.stderr and b"Traceback" not in done.stderr


def test_selftest_and_help() -> None:
    done = infer("--selftest")
    assert done.returncode == 0 and b"passed" in done.stdout and b"to the bit" in done.stdout
    assert b"PHOTO" in infer("--help").stdout


def test_many_pictures_come_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(150):
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(tmp_path / f"{i:03}.png")
    answers = lines(infer(tmp_path, "--json"))
    assert [Path(a["path"]).name for a in answers] == [f"{i:03}.png" for i in range(150)]
