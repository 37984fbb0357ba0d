"""The table of exit codes in docs/cli.md: each phrase is a case here, and each case ends with the code of its row."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_bench.cli import bench
from fmnist_runtime.cli.infer import infer
from fmnist_runtime.console import run_argparse
from fmnist_runtime.drift.cli import drift
from fmnist_runtime.serve.cli import serve
from fmnist_train.console import run_typer

ROOT = Path(__file__).parents[2]
ROWS = {
    int(code): meaning
    for code, meaning in re.findall(
        r"^\| (\d+) \| (.*) \|$",
        (ROOT / "docs" / "cli.md").read_text("utf-8").partition("## Exit codes")[2].partition("## Output")[0],
        re.MULTILINE,
    )
}
PHOTO = str(ROOT / "examples" / "shirt.jpg")
REJECTED = json.dumps({"rejected": True, "label": None, "probability": 0.2})
ACCEPTED = json.dumps({"rejected": False, "label": "Bag", "probability": 0.9})
GRAPH = b"\x3a\x02\x0a\x00"  # an ONNX model of an empty node
FILES = {
    "empty": b"",
    "noise.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "noise.onnx": GRAPH,
    "noise.safetensors": b"\x10" + bytes(40),
    "noise.json": b"[1, 2",
    "reference": "\n".join([ACCEPTED] * 200).encode(),
    "changed": "\n".join([REJECTED] * 200).encode(),
    "work/last.safetensors": b"of another run",
    "c/CMakeLists.txt": b"project(mine)",
}
"""Files in the working folder of each case."""


def train(args: list[str]) -> int:
    from fmnist_train.cli import app

    return run_typer(app, args=args)


def export(args: list[str]) -> int:
    from fmnist_export.cli import app

    return run_typer(app, args=args)


def run(command: Callable[..., int]) -> Callable[[list[str]], int]:
    return lambda args: run_argparse(command, args=args)


COMMANDS = {
    "infer": run(infer),
    "serve": run(serve),
    "drift": run(drift),
    "bench": run(bench),
    "train": train,
    "export": export,
}
CASES: dict[int, dict[str, list[str]]] = {
    0: {"done": [f"infer {PHOTO}", "infer selftest", "drift reference reference", "train --help", "export --version"]},
    1: {
        "a file or folder that is missing": [
            "infer gone.png",
            f"infer {PHOTO} --model gone.onnx",
            f"infer {PHOTO} --files-from gone",
            "infer --watch gone",
            "infer selftest --model gone.onnx",
            "infer web page --model gone.onnx",
            "serve --model gone.onnx",
            "serve --token-file gone",
            "drift gone reference",
            "drift reference gone",
            "drift reference reference --since gone",
            "bench compare gone gone",
            "bench --quick --model gone.onnx",
            "train --data gone",
            "train --data-dir gone",
            "train --data sample --start gone --model improved",
            "train --data sample --resume --output gone",
            "train evaluate gone",
            "train evaluate gone.onnx --data sample",
            "train explore --data gone",
            "train compare --reuse-only --runs gone --data sample",
            "train photos gone out",
            "export gone",
            "export",
            "export inspect gone.onnx",
            "export verify gone.onnx --data sample",
            "export c gone.onnx -o out",
            "export publish gone",
        ],
        "unreadable": [
            f"infer {PHOTO} --files-from .",
            "serve --token-file .",
            "drift . reference",
            "bench compare . .",
        ],
        "damaged": [
            "infer noise.png",
            f"infer {PHOTO} --model noise.onnx",
            f"infer {PHOTO} --model empty",
            "infer web page --model noise.onnx",
            "infer selftest --model noise.onnx",
            "serve --model noise.onnx --workers 1",
            "serve --token-file empty",
            "drift noise.json reference",
            "bench compare noise.json noise.json",
            "train evaluate noise.safetensors --data sample",
            "train evaluate noise.onnx --data sample",
            "export noise.safetensors",
            "export inspect noise.onnx",
            "export verify noise.onnx --data sample",
            "export c noise.onnx -o out",
        ],
        "not writable": [
            f"infer {PHOTO} --show empty/x",
            "infer web empty/x",
            "drift reference reference --picture empty/x.png",
            "train --data sample --output empty/x",
            "train --save-recipe empty/x.json",
            "train explore --data sample --output empty/x",
            "train tune simple --trials 1 --data sample --output empty/x",
            "export c nano --data sample -o empty",
            "export c nano --data sample -o empty/x",
        ],
    },
    2: {
        "unknown": [
            "infer --unknown",
            "serve --unknown",
            "drift --unknown",
            "bench --unknown",
            "bench --only abacus",
            "train --unknown",
            "train --recipe abacus",
            "train --recipe gone.json",
            "train --model abacus",
            "train --device abacus",
            "export --unknown",
            "export gone --quantize --target abacus",
        ],
        "malformed": [
            f"infer {PHOTO} --sha256 abc",
            "infer web page --sha256 abc",
            f"infer {PHOTO} --threads none",
            "infer --watch . --interval never",
            "serve --port 70000",
            "drift reference reference --alpha 2",
            "bench --contestant x",
            "train --epochs many",
            "train --epochs 0",
            "train --recipe noise.json",
            "export --max-drop much",
            "export c nano -o out --name a.b --data sample",
        ],
        "contradicts another": [
            f"infer {PHOTO} --json --csv",
            "infer - -",
            "train --data sample --data-dir .",
            "train --validation 0 --patience 3",
            "export gone --rescue",
        ],
        "this machine does not have": [
            f"infer {PHOTO} --provider qnn",
            "serve --host 192.0.2.1 --workers 1 --model nano",
        ],
        "an output folder that holds other work": [
            "train --output work --data sample",
            "export c nano -o c --data sample",
        ],
    },
    3: {"`fmnist-drift` found a change": ["drift reference changed"]},
}


@pytest.mark.parametrize(("code", "phrase"), [(code, phrase) for code, phrases in CASES.items() for phrase in phrases])
def test_each_phrase_of_the_table_ends_with_its_code(
    code: int, phrase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(part in ROWS[code] for part in phrase.split(" that is "))
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for case in CASES[code][phrase]:
        command, *arguments = case.split(" ")
        found = COMMANDS[command](arguments)
        messages = capsys.readouterr().err.splitlines()
        assert found == code, f"{case}: {messages}"
        if code in (1, 2):
            errors = [line for line in messages if not line.startswith(("note: ", "checkpoint: "))]
            assert errors and "Traceback" not in "".join(messages), case
            assert len(errors) == 1 or command in ("train", "export"), f"{case}: {errors}"


def test_the_table_has_no_other_codes() -> None:
    assert set(ROWS) == {*CASES, 130}  # test_inputs and test_kill interrupt commands


@pytest.mark.parametrize("command", ["fmnist_train", "fmnist_export"])
def test_a_usage_error_of_typer_has_no_traceback(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", command, "--unknown"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stdout == ""
