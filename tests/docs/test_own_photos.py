"""The guide for one's own photos, executed step by step on the images of the embedded sample."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "own-photos.md").read_text("utf-8")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def run(words: list[str], folder: Path) -> str:
    """Runs one of our commands in a folder and returns its standard output."""
    module, function = SCRIPTS[words[0]].split(":")
    code = f"from {module} import {function} as main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words[1:]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_every_step_of_the_guide_runs(tmp_path: Path) -> None:
    (python,) = blocks("python")
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True)
    labels = sorted(folder.name for folder in (tmp_path / "things").iterdir())
    photo = next((tmp_path / "things" / "Trouser").iterdir())
    (tmp_path / "photo.jpg").write_bytes(photo.read_bytes())
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("fmnist-")]
    output = {}
    for line in commands:
        words = shlex.split(line)
        if "--epochs" in words:
            words[words.index("--epochs") + 1] = "6"  # the steps are tested, not the accuracy
        if words[0] == "fmnist-export":
            words += ["--max-drop", "5", "--max-class-drop", "20", "--min-agreement", "0.9", "--max-latency-ratio", "0"]
        output[line] = run(words, tmp_path)
    answer = next(text for line, text in output.items() if line.startswith("fmnist-infer photo.jpg"))
    assert any(label in answer for label in labels)
    assert (tmp_path / "runs" / "things" / "evaluation" / "report.html").is_file()
    assert (tmp_path / "runs" / "things" / "export" / "model.int8.onnx").is_file()
    assert (tmp_path / "page" / "index.html").is_file()
