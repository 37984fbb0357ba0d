"""The wheel as a device gets it: in an environment that holds nothing but the wheel's own requirements."""

import json
import os
import re
import subprocess
import sys
import venv
from email import message_from_string
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[\w.-]+")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def base_requirements(metadata: list[str]) -> set[str]:
    """Names of these requirements, and of all that they require; extras and other platforms left out."""
    found: set[str] = set()
    waiting = [line for line in metadata if "extra ==" not in line]
    while waiting:
        name = NAME.match(waiting.pop())[0]
        if name in found:
            continue
        try:
            waiting += [line for line in distribution(name).requires or [] if "extra ==" not in line]
        except PackageNotFoundError:  # for another platform or Python
            continue
        found.add(name)
    return found


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's interpreter: the wheel unpacked, and links to the packages that its metadata require."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    with ZipFile(wheel) as archive:
        archive.extractall(site)
        metadata = message_from_string(
            archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
        )
    for name in base_requirements(metadata.get_all("Requires-Dist")):
        for top in {file.parts[0] for file in distribution(name).files if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(distribution(name).locate_file(top))
    return folder / "bin" / "python"


def run(python: Path, *arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=python.parent, **options)


def call(module: str) -> str:
    return f"from {module} import main; main()"


def test_the_wheel_holds_the_model_and_the_commands_and_little_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        commands = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    models = {Path(name).stem for name in names if name.startswith("fmnist_runtime/models/") and name.endswith(".onnx")}
    assert models == {"improved", "improved-lite", "micro", "nano"}
    assert "fmnist-infer = fmnist_runtime.cli.infer:main" in commands
    notices = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert notices == {"LICENSE", "fashion-mnist.txt", "clothing-dataset.txt"}
    assert not [n for n in names if n.startswith(("tests", "artifacts", "benchmarks")) or "__pycache__" in n]


def test_a_device_classifies_photos_without_torch(device: Path) -> None:
    gone = run(device, "-c", "import torch")
    assert gone.returncode == 1 and "No module named 'torch'" in gone.stderr
    done = run(device, "-c", call("fmnist_runtime.cli.infer"), ROOT / "examples", "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert len(answers) == len(list((ROOT / "examples").glob("*.jpg"))) and all(a["top"] for a in answers)
    assert "passed" in run(device, "-c", call("fmnist_runtime.cli.infer"), "--selftest").stdout


def test_a_classification_opens_no_connection(device: Path) -> None:
    code = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event.startswith('socket.'): sys.exit(f'{event} {arguments}')\n"
        "sys.addaudithook(hook)\n" + call("fmnist_runtime.cli.infer")
    )
    done = run(device, "-c", code, ROOT / "examples" / "shirt.jpg")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "extra"), [("fmnist_train.__main__", "train"), ("fmnist_export.__main__", "export")]
)
@pytest.mark.parametrize("arguments", [[], ["--help"], ["--nonsense"]])
def test_what_needs_an_extra_says_which(device: Path, module: str, extra: str, arguments: list[str]) -> None:
    done = run(device, "-c", call(module), *arguments)
    assert done.returncode == 1 and f"pip install '.[{extra}]' in a checkout" in done.stderr
    assert done.stderr.count("\n") == 1
    version = run(device, "-c", call(module), "--version")
    assert version.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)


def test_a_device_writes_the_page(device: Path, tmp_path: Path) -> None:
    done = run(device, "-c", call("fmnist_runtime.cli.infer"), "--web", tmp_path / "page")
    assert done.returncode == 0, done.stderr
    assert {"index.html", "sw.js", "model.bin", "kernels.wasm"} <= {path.name for path in (tmp_path / "page").iterdir()}
