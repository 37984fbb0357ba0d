"""The documentation site builds without a warning."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("zensical", reason="the site needs the extra `docs`")
ROOT = Path(__file__).parents[2]


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    code = "from zensical.main import cli; cli()"
    command = [sys.executable, "-c", code, "build", "--strict", "--config-file", str(folder / "zensical.toml")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a copy of what the site is built from, so that the site is not written into the repository."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    (tmp_path / "runtime").symlink_to(ROOT / "runtime")
    return tmp_path


def test_the_site_builds_strictly_and_holds_the_reference(project: Path) -> None:
    done = build(project)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (project / "site" / "api" / "index.html").read_text("utf-8")
    assert "fmnist_runtime.Classifier" in reference
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= {page.parent.name for page in (project / "site").glob("*/index.html")}
