"""Every command in a shell block of README and guides is executed: here, or in a test that is named here.

Commands run as they stand, in a folder with the files that they name. Long ones get options that shorten them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
GUIDE = "docs/own-photos.md"

DEVICE = (
    "fmnist-infer examples/trouser.jpg",
    "fmnist-infer examples/",
    "fmnist-infer photos/ --json",
    "fmnist-infer 'photos/*.jpg' --csv",
    "fmnist-infer --files-from list.txt --top-k 1",
    "fmnist-infer models",
    "fmnist-infer doctor",
    "fmnist-infer selftest",
    "~/fmnist/bin/fmnist-infer selftest",
    "~/fmnist/bin/fmnist-infer doctor",
    'eval "$(fmnist-infer completion bash)"',
    "fmnist-infer completion fish > ~/.config/fish/completions/fmnist-infer.fish",
)
"""Commands that need no extra."""
SERVICE = (
    "curl --data-binary @photo.jpg -H Content-Type:image/jpeg localhost:8000/classify",
    "curl -F file=@a.jpg -F file=@b.png 'localhost:8000/classify?top_k=1&reject=false'",
    "curl --data-binary @examples/trouser.jpg -H Content-Type:image/jpeg localhost:8000/classify",
)
"""Requests to ``fmnist-serve``."""
LOOSE = " --max-drop 100 --max-class-drop 100 --min-agreement 0 --max-latency-ratio 0"
TRAINING = {
    "fmnist-train --recipe custom --flip 0.5 --save-recipe mine.json": "",
    "fmnist-train --recipe mine.json": " --data sample --epochs 1",
    "fmnist-train --recipe improved": (
        f" --data sample --validation 0.1 --epochs 1 --output runs/NAME --teacher '{ROOT}/artifacts/best' --stored-views 1"
    ),
    "fmnist-train explore": " --data sample",
    "fmnist-train evaluate runs/NAME": " --data sample",
    "fmnist-export runs/NAME --quantize": " --data sample" + LOOSE,
    "fmnist-export inspect improved": "",
    "fmnist-train": " --version",
}
"""Commands in their order, and what is added to shorten them: the sample has 2,000 training images."""
ELSEWHERE = {
    "fmnist-infer --watch inbox/ --json": "runtime/cli/test_inputs.py::test_the_command_watches_a_folder",
    "fmnist-serve": "docs/test_commands_run.py::test_the_service_s_commands",
    "fmnist-train --data things --recipe custom --output runs/things": "docs/test_own_photos.py::test_every_step_of_the_guide_runs",
    "fmnist-train --recipe improved-photos --photos FOLDER": (
        "train/training/test_photos.py::test_fine_tuning_starts_from_the_first_weights_and_keeps_the_photos_logits"
    ),
    "fmnist-train compare": "train/test_commands.py::test_commands",
    "torchrun --nproc-per-node=2 -m fmnist_train --recipe improved": (
        "integration/test_distributed.py::test_two_processes_learn_what_one_does"
    ),
    "fmnist-train tune improved-published --trials 50 --epochs 15": (
        "train/tuning/test_study.py::test_a_real_search_resumes_and_reads_no_test_image"
    ),
    "fmnist-train --recipe runs/tune-improved-published/best.json": (
        "train/tuning/test_study.py::test_a_real_search_resumes_and_reads_no_test_image"
    ),
    "fmnist-train tune custom --trials 40 --threads 1 &": "train/tuning/test_study.py::test_processes_share_a_study",
    "fmnist-bench": "bench/test_cli.py::test_the_command_shows_wrong_and_missing_contestants",
    "fmnist-bench compare OLD.json NEW.json": (
        "bench/test_cli.py::test_the_command_shows_wrong_and_missing_contestants"
    ),
    "fmnist-export verify improved --data-dir /usr/share/datasets/fashion-mnist": (
        "export/test_cli.py::test_export_then_inspect_then_verify"
    ),
    "pip install .": "integration/test_wheel.py::test_a_device_classifies_photos_without_torch",
    "~/fmnist/bin/pip install fmnist_edge-0.2.0-py3-none-any.whl": (
        "integration/test_wheel.py::test_a_device_classifies_photos_without_torch"
    ),
}
"""Commands that other tests execute, with other values."""
GUIDES = {
    GUIDE: "docs/test_own_photos.py::test_every_step_of_the_guide_runs",
    "docs/microcontrollers.md": "export/c/test_projects.py::test_the_commands_of_the_guide",
}
"""Pages whose shell blocks one test executes from the first to the last line."""
NOT_RUN = {
    r"pip install '\.\[\w+\]'": "downloads; `make` installs these extras for the tests themselves",
    r"docker .*": "needs a Docker engine; test_container follows the steps of the Dockerfile",
    r"make \w+": "the tests themselves; `make demo` runs examples/demo.py, which test_demo executes",
    r"python3 -m venv .*": "Python's own command",
    r"(openssl .* \| )?sudo .*": "changes the system, as its administrator",
}
"""Patterns of commands that no test executes, and why."""


def commands(page: Path) -> Iterator[str]:
    """Yields the commands of a page's shell blocks, without comments, one line each."""
    for text in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            if command := re.sub(r"(^|\s+)#.*$", "", line).strip():
                yield command


def test_every_command_is_executed_or_has_a_reason() -> None:
    found = {command for page in PAGES for command in commands(page) if str(page.relative_to(ROOT)) not in GUIDES}
    in_guides = {command for page in GUIDES for command in commands(ROOT / page)}
    known = {*DEVICE, *SERVICE, *TRAINING, *ELSEWHERE}
    left = {each for each in found - known - in_guides if not any(re.fullmatch(pattern, each) for pattern in NOT_RUN)}
    assert not left, "execute these commands in a test"
    assert not known - found - in_guides - {"fmnist-train"}, "these commands are in no guide any more"


@pytest.mark.parametrize("name", sorted({*ELSEWHERE.values(), *GUIDES.values()}))
def test_the_named_tests_exist(name: str) -> None:
    path, _, function = name.partition("::")
    assert re.search(rf"^def {function}\(", (ROOT / "tests" / path).read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with the files that the commands name, and with our commands in ``bin`` and ``fmnist/bin``."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("photos", "fmnist/bin", "bin", ".config/fish/completions"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("photo.jpg", "a.jpg", "photos/1.jpg"):
        shutil.copy(ROOT / "examples" / "trouser.jpg", tmp_path / name)
    shutil.copy(ROOT / "examples" / "shirt.jpg", tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("photos/1.jpg\nexamples/shirt.jpg\n")
    for name, target in SCRIPTS.items():
        module, function = target.split(":")
        script = f"#!/bin/sh\nexec '{sys.executable}' -c 'from {module} import {function} as main; main()' \"$@\"\n"
        for folder in ("bin", "fmnist/bin"):
            (tmp_path / folder / name).write_text(script)
            (tmp_path / folder / name).chmod(0o755)
    return tmp_path


def run(command: str, home: Path) -> str:
    """Runs a line with bash in the home folder, and returns its standard output."""
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_device_s_commands(home: Path) -> None:
    output = {command: run(command, home) for command in DEVICE}
    assert output["fmnist-infer examples/trouser.jpg"].startswith("Trouser")
    assert output["fmnist-infer examples/"].count("\n") == 9
    assert output["fmnist-infer photos/ --json"].startswith('{"path": "photos/1.jpg"')
    assert output["fmnist-infer 'photos/*.jpg' --csv"].count("\n") == 2
    assert output["fmnist-infer --files-from list.txt --top-k 1"].count("\n") == 2
    assert "self-test passed" in output["fmnist-infer selftest"]
    assert "-l top-k" in (home / ".config/fish/completions/fmnist-infer.fish").read_text("utf-8")


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_service_s_commands(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "FMNIST_PORT": str(port)}
    process = subprocess.Popen([home / "bin" / "fmnist-serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        for command in SERVICE:
            answer = run(command.replace("localhost:8000", f"localhost:{port}"), home)
            assert '"answers"' in answer and "Trouser" in answer
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Waits until the service is ready."""
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_commands_of_training_and_export(home: Path) -> None:
    for command, more in TRAINING.items():
        run(command + more, home)
    for name in ("runs/mine-sample-seed0", "runs/NAME/evaluation/report.html", "runs/NAME/export/model.int8.onnx"):
        assert (home / name).exists(), name
