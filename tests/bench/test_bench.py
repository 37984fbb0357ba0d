"""The benchmark: its statistics, its verdicts, and that a wrong or missing contestant is shown as what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_bench.distributions import closure, installed_bytes
from fmnist_bench.regression import compare_runs, read_run
from fmnist_bench.statistics import describe, ratio
from fmnist_runtime.batching.cpus import available_cpus, quota
from fmnist_runtime.errors import ConfigError

ROOT = Path(__file__).parents[2]
RIVALS = """
from pathlib import Path
import numpy as np
class Wrong:
    packages = ("numpy",)
    def convert(self, files, folder): return Path(files.int8)
    def load(self, model, threads): return lambda pixels: np.eye(10, dtype=np.float32)[np.zeros(len(pixels), int)]
WRONG = Wrong()
class Absent(Wrong):
    def load(self, model, threads): import a_runtime_that_is_not_installed
ABSENT = Absent()
"""


def bench(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    code = "from fmnist_bench.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


def test_quantiles_clip_nothing() -> None:
    rounds = [np.full(100, 1e-4) for _ in range(10)]
    rounds[3] = np.append(rounds[3][:-1], 5.0)
    figures = describe(rounds)
    assert figures["p50"] == pytest.approx(100) and figures["calls"] == 1000 and figures["rounds"] == 10
    assert figures["mean"] == pytest.approx((999 * 1e-4 + 5) / 1000 * 1e6)
    low, high = figures["mean interval"]
    assert low < figures["mean"] < high and low == pytest.approx(100)  # the outlier may be in no resampled round


def test_the_interval_of_a_ratio_holds_the_truth_and_shared_noise_cancels() -> None:
    rng = np.random.default_rng(0)
    state = 1 + rng.random(20)  # a machine twice as slow in some rounds as in others
    theirs = [s * 1e-4 * (1 + 0.01 * rng.random(50)) for s in state]
    ours = [s * 2e-4 * (1 + 0.01 * rng.random(50)) for s in state]
    found = ratio(ours, theirs)
    assert found["interval"][0] <= 2 <= found["interval"][1]
    assert found["interval"][1] - found["interval"][0] < 0.1
    with pytest.raises(ValueError, match="side by side"):
        ratio(ours, theirs[:-1])


def run_of(p50: float, width: float = 1.0, **more: Any) -> dict[str, Any]:
    figure = {"p50": p50, "p50 interval": [p50 - width, p50 + width]}
    result = {"hot": figure, "paced": figure, "cold_start": figure, **more}
    return {"machine": {"processor": "x"}, "results": {"ours": result}}


@pytest.mark.parametrize(
    ("new", "word", "regressed"),
    [
        (run_of(103), "no change", False),  # apart, but within the tolerance
        (run_of(120, 30), "no change", False),  # intervals touch
        (run_of(120), "REGRESSED", True),
        (run_of(80), "faster", False),
        (run_of(80, wrong=True), "wrong answers", True),
        ({"machine": {"processor": "x"}, "results": {"ours": {"missing": "gone"}}}, "gone", True),
        ({"machine": {"processor": "y"}, "results": {}}, "different processors", True),
    ],
)
def test_compare_tells_a_regression_from_noise(new: dict[str, Any], word: str, regressed: bool) -> None:
    lines, verdict = compare_runs(run_of(100), new)
    assert any(word in line for line in lines) and verdict is regressed


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[]",
        '{"machine": [], "results": {}}',
        '{"machine": {}, "results": {"a": 5}}',
        '{"machine": {}, "results": {"a": {}}}',
        '{"machine": {}, "results": {"a": {"missing": "not installed"}}}',
        json.dumps(run_of(0)),
        json.dumps(run_of(1, float("nan"))),
        json.dumps(run_of(100)).replace('"paced"', '"other"'),
        json.dumps(run_of(100)).replace("[99.0, 101.0]", "[99.0]"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run.json: (not|no contestant)"):
        read_run(tmp_path / "run.json")


def test_the_command_shows_wrong_and_missing_contestants(tmp_path: Path) -> None:
    (tmp_path / "rivals.py").write_text(RIVALS)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    own = [a for name in ("WRONG", "ABSENT") for a in ("--contestant", f"{name.lower()}=rivals:{name}")]
    only = [a for name in ("int8", "eager", "wrong", "absent") for a in ("--only", name)]
    done = bench("--quick", "--json", *own, *only, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    results = document["results"]
    assert results["wrong"]["wrong"] and not results["onnxruntime int8"]["wrong"]
    assert "a_runtime_that_is_not_installed" in results["absent"]["missing"]
    assert results["onnxruntime int8"]["ratio"]["ratio"] == 1 and results["onnxruntime int8"]["peak_rss"] > 1e7
    assert results["onnxruntime int8"]["installed"]["onnxruntime"] > 1e6
    (tmp_path / "run.json").write_text(done.stdout)
    same = bench("compare", tmp_path / "run.json", tmp_path / "run.json")
    assert same.returncode == 0 and "no change" in same.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "abacus"], 2, "no contestant"),
        (["--contestant", "x"], 2, "NAME=MODULE:OBJECT"),
        (["compare", "pyproject.toml", "pyproject.toml"], 2, "not readable as a run"),
        (["compare", "artifacts/improved/parity.json", "x"], 2, "not a run"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr


def test_what_is_installed_is_counted_with_what_it_requires() -> None:
    assert {"onnxruntime", "numpy", "protobuf"} <= set(closure(("onnxruntime",)))
    assert installed_bytes("numpy") > 1e7


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "sys/fs/cgroup/a/b/cpu.max").write_text("max 100000\n")
    assert quota(tmp_path) is None
    (tmp_path / "sys/fs/cgroup/a/cpu.max").write_text("50000 100000\n")  # a parent's limit holds for its children
    assert quota(tmp_path) == 0.5 and available_cpus(tmp_path) == 1


def test_the_older_interface_counts_too(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/x").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("3:cpu,cpuacct:/x\n2:memory:/x\n")
    for name, value in (("quota", -1), ("period", 100000)):
        (tmp_path / f"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_{name}_us").write_text(f"{value}\n")
    assert quota(tmp_path) is None
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us").write_text("150000\n")
    assert quota(tmp_path) == 1.5
