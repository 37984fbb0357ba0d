"""Nothing is uploaded: no telemetry of libraries, no file in the home folder, no connection, no name looked up."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_runtime.model_file.session import turn_off_tracing

ROOT = Path(__file__).parents[2]
PHOTO = str(ROOT / "examples" / "shirt.jpg")
INFER = [sys.executable, "-c", "from fmnist_runtime.cli.infer import main; main()"]
VARIABLES = ("ORT_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's environment with another home and without what the project sets."""
    kept = {key: value for key, value in os.environ.items() if key not in VARIABLES and not key.startswith("XDG_")}
    return {**kept, "HOME": str(home), **variables}


@pytest.mark.parametrize("package", ["fmnist_runtime", "fmnist_train", "fmnist_export", "fmnist_bench"])
def test_every_package_turns_telemetry_off(package: str, tmp_path: Path) -> None:
    code = f"import json, os, {package}; print(json.dumps([os.environ[name] for name in {VARIABLES}]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=True, env=environment(tmp_path))
    assert json.loads(done.stdout) == ["1", "0"]
    chosen = environment(tmp_path, ORT_DISABLE_TELEMETRY="0", RAY_USAGE_STATS_ENABLED="1")
    assert json.loads(subprocess.run(command, capture_output=True, check=True, env=chosen).stdout) == ["0", "1"]


@pytest.mark.parametrize(("system", "variable", "calls"), [("nt", "1", 1), ("nt", "0", 0), ("posix", "1", 0)])
def test_trace_events_of_windows_are_turned_off(
    system: str, variable: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' wheels hand events to the system whatever the variable is."""
    made: list[None] = []
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", variable)
    monkeypatch.setattr("onnxruntime.disable_telemetry_events", lambda: made.append(None))
    turn_off_tracing(system)
    assert len(made) == calls


def test_nothing_imports_onnxruntime_before_its_telemetry_is_off() -> None:
    """Every source file that imports onnxruntime or Ray is in a package that sets the variables, or imports one first."""
    for path in sorted((ROOT / "benchmarks" / "studies").glob("*.py")):
        names = [line.split()[1].partition(".")[0] for line in path.read_text().splitlines() if imports(line)]
        for library in {"onnxruntime", "ray"} & set(names):
            if path.name == "minimal_script.py":  # imports nothing of ours; speed_cases.py passes its environment on
                continue
            before = names[: names.index(library)]
            assert any(name.startswith("fmnist_") for name in before), f"{path.name}: {library} comes first"


def test_the_documents_name_the_telemetry_that_is_off() -> None:
    for page in ("README.md", "docs/serve.md", "docs/library.md"):
        assert "telemetry" in (ROOT / page).read_text("utf-8"), page
    assert all(name in (ROOT / "docs" / "library.md").read_text("utf-8") for name in VARIABLES)


def test_the_wheel_that_crashes_is_excluded() -> None:
    """Version 1.29.0 of onnxruntime crashes."""
    requirement = re.search(r'^    "(onnxruntime[^"]*)",$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)[
        1
    ]
    assert "!=1.29.0" in requirement and ">=" in requirement


def imports(line: str) -> bool:
    return line.startswith(("import ", "from "))


@pytest.mark.parametrize("arguments", [[PHOTO], [PHOTO, PHOTO, "--workers", "2"], ["--selftest"], ["--doctor"]])
def test_a_fresh_home_stays_empty(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run([*INFER, *arguments], capture_output=True, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 0 and done.stdout and done.stderr == b""
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_prints_nothing(tmp_path: Path) -> None:
    done = subprocess.run([*INFER, PHOTO], capture_output=True, env=environment(tmp_path / "none"))
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("arguments", [[PHOTO], [PHOTO, PHOTO, "--workers", "2"]])
def test_no_name_is_looked_up_and_no_connection_made(tmp_path: Path, arguments: list[str]) -> None:
    log = tmp_path / "calls"
    tracer = ["strace", "-f", "-qq", "-e", "trace=network,openat", "-o", str(log)]
    if subprocess.run([*tracer, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no process be traced")
    done = subprocess.run([*tracer, *INFER, *arguments], capture_output=True, env=environment(tmp_path))
    calls = log.read_text()
    assert done.returncode == 0 and calls
    assert not [line for line in calls.splitlines() if "AF_INET" in line or "/etc/resolv.conf" in line]
