"""The command as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.image_io import comparison_image

EXAMPLES = Path(__file__).parents[3] / "examples"


COMMAND = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]


def infer(*arguments: object, stdin: bytes = b"", **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *map(os.fsencode, map(str, arguments))], input=stdin, capture_output=True, **options
    )


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


def test_show_takes_long_names_and_the_same_photo_twice(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120) / ("é" * 80 + ".png")
    long.parent.mkdir()
    long.write_bytes((EXAMPLES / "shirt.jpg").read_bytes())
    done = infer(*[EXAMPLES / "shirt.jpg"] * 12, long, "--show", tmp_path / "seen")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "seen").iterdir())) == 2


def test_show_keeps_pictures_of_like_names_apart(tmp_path: Path) -> None:
    photos = [tmp_path / "a b.jpg", tmp_path / "a_b.jpg"]
    for photo in photos:
        photo.write_bytes((EXAMPLES / "shirt.jpg").read_bytes())
    assert infer(*photos, "--show", tmp_path / "seen").returncode == 0
    assert len(list((tmp_path / "seen").iterdir())) == 2


def test_show_replaces_its_own_pictures_only(tmp_path: Path) -> None:
    for photo in ("x.jpg", "y.jpg"):
        (tmp_path / photo).write_bytes((EXAMPLES / "shirt.jpg").read_bytes())
    assert infer("x.jpg", "--show", "seen", cwd=tmp_path).returncode == 0
    assert infer("x.jpg", "--show", "seen", cwd=tmp_path).stderr == b""
    foreign = tmp_path / "seen" / "y.jpg.png"
    with Image.open(tmp_path / "seen" / "x.jpg.png") as own:  # the same picture, of another program
        own.save(foreign)
    before = foreign.read_bytes()
    done = infer("y.jpg", "--show", "seen", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith(b"Shirt") and foreign.read_bytes() == before
    expected = (
        f"error: --show: {Path('seen', 'y.jpg.png')} is of another program or an earlier version: "
        "remove it, or name another folder"
    )
    assert done.stderr.decode().splitlines() == [expected]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"name at least one"),
        (["--selftest", "x.png"], 2, b"leave out x.png"),
        (["-", "-"], 2, b"only once"),
        (["x.png", "--model", "nothing.onnx"], 1, b"no such model"),
        (["x.png", "--top-k", "0"], 2, b"top-k"),
        (["x.png", "--provider", "abacus"], 2, b"unknown provider"),
        (["x.png", "--sha256", "12"], 2, b"SHA-256"),
        (["--null", "-"], 2, b"--null is for --files-from"),
        (["x.png", "--interval", "1"], 2, b"--interval is for --watch"),
        (["--watch", ".", "--interval", "1e300"], 2, b"over 0 and up to 1,000,000"),
        (["x.png", "--top-k", "9" * 5000], 2, b"is not a whole number from 1"),
        (["x.png", "--threads", "many"], 2, b"'many' is not a whole number from 1 to 256"),
        (["x.png", "--threads", "257"], 2, b"from 1 to 256"),
        (["x.png", "--workers", "9" * 30], 2, b"from 1 to 1024"),
        (["x.png", "x.png", "--show", "pyproject.toml/x"], 1, b"cannot write into"),
        (["--doctor", "--model", "nano", "--top-k", "2"], 2, b"leave out --model, --top-k"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, message: bytes) -> None:
    done = infer(*arguments)
    assert done.returncode == code and message in done.stderr and done.stderr.count(b"\n") == 1


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


def test_odd_file_names(tmp_path: Path) -> None:
    names = ["a\nb.png", "\x1b[31mred.png", "déjà.png", os.fsdecode(b"\xff.png")]
    for name in names:
        Image.new("L", (28, 28), 90).save(tmp_path / name)
    done = infer(tmp_path, "--json", "--no-reject")
    assert done.returncode == 0 and {Path(a["path"]).name for a in lines(done)} == set(names)
    table = infer(tmp_path, "--no-reject", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert table.returncode == 0 and table.stdout.count(b"\n") == 4 and b"\x1b" not in table.stdout


@pytest.mark.parametrize("name", ["", "x" * 5000, "folder/../gone.png"])
def test_names_that_are_no_files(name: str) -> None:
    done = infer(name, "--json")
    assert done.returncode == 1 and "cannot be read" in lines(done)[0]["error"] and b"Traceback" not in done.stderr


def test_folders_with_more_than_pictures(tmp_path: Path) -> None:
    Image.new("L", (28, 28), 90).save(tmp_path / "b.png")
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "d.png").symlink_to(tmp_path / "d.png")
    (tmp_path / "e").symlink_to(tmp_path)
    done = infer(tmp_path, "--json", "--no-reject")
    answers = {Path(a["path"]).name: "error" in a for a in lines(done)}
    assert done.returncode == 1 and answers == {"b.png": False, "c.png": True, "d.png": True}


def test_a_very_deep_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Image.new("L", (28, 28), 90).save("x.png")
    try:
        (answer,) = lines(infer(tmp_path, "--json", "--no-reject"))
    finally:  # pytest's own clean-up, unlike rm, gives up at such depths
        subprocess.run(["rm", "-rf", tmp_path / "d"], cwd=tmp_path, check=True)
    assert answer["path"].endswith("d/x.png") and answer["label"]


@pytest.mark.skipif(os.name != "posix" or not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, str(EXAMPLES / "shirt.jpg")], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr == b"error: No space left on device\n"


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    for i in range(100):
        Image.new("L", (28, 28), 90).save(tmp_path / f"{i}.png")
    with subprocess.Popen(
        [*COMMAND, str(tmp_path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("redirection", [">&-", "<&-", "2>&-"])
def test_streams_that_are_closed(redirection: str) -> None:
    quoted = f"exec '{COMMAND[0]}' -c '{COMMAND[2]}' - {EXAMPLES / 'shirt.jpg'} {redirection}"
    done = subprocess.run(["sh", "-c", quoted], input=b"no picture", capture_output=True)
    assert done.returncode == 1 and b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("cli.infer", "-"), ("cli.infer", "--files-from -"), ("drift.cli", "- -"), ("drift.cli", f"{EXAMPLES} -")],
)
def test_standard_input_that_is_closed(module: str, arguments: str) -> None:
    code = f"from fmnist_runtime.{module} import main; main()"
    done = subprocess.run(["sh", "-c", f"'{sys.executable}' -c '{code}' {arguments} <&-"], capture_output=True)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"Traceback" not in done.stderr


def test_a_pipe_that_is_named() -> None:
    shell = f"'{COMMAND[0]}' -c '{COMMAND[2]}' <(cat {EXAMPLES / 'shirt.jpg'}) --json --no-reject"
    done = subprocess.run(["bash", "-c", shell], capture_output=True)
    assert done.returncode == 0 and lines(done)[0]["label"]


def test_a_model_that_never_ends() -> None:
    done = infer("x.png", "--model", "/dev/zero")
    assert done.returncode == 1 and b"larger than 256 MiB" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_before_one_line_about_a_folder_of_show_that_is_full(tmp_path: Path, workers: int) -> None:
    photos = [EXAMPLES / "shirt.jpg", EXAMPLES / "trouser.jpg"]
    for folder in photos:  # a folder in place of each file: as from a full disk, the image cannot be written
        (tmp_path / f"{comparison_image._stem(str(folder))}.png").mkdir()
    expected = infer(*photos, "--json")
    done = infer(*photos, "--json", "--show", tmp_path, "--workers", workers)
    assert done.stdout == expected.stdout and done.returncode == 1
    assert done.stderr.count(b"\n") == 1 and b"--show: cannot write" in done.stderr


def test_an_empty_path_is_named() -> None:
    done = infer("", EXAMPLES / "shirt.jpg")
    assert done.returncode == 1 and b"Shirt" in done.stdout
    assert done.stderr == b"error: '': cannot be read: the path is empty\n"
