"""Comparison of two runs of the benchmark."""

import json
from pathlib import Path
from typing import Any

import pytest

from fmnist_bench.regression import compare_runs, read_run
from fmnist_runtime.errors import FileError


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
        (run_of(80) | {"model": "cd" * 32}, "different models", False),
    ],
)
def test_compare_tells_a_regression_from_noise(new: dict[str, Any], word: str, regressed: bool) -> None:
    lines, verdict = compare_runs(run_of(100) | {"model": "ab" * 32}, new)
    assert any(word in line for line in lines) and verdict is regressed


def test_runs_of_an_earlier_version_do_not_name_their_model() -> None:
    for one, other in ((run_of(100), run_of(100) | {"model": "ab" * 32}), (run_of(100), run_of(100))):
        assert not any("models" in line for runs in ((one, other), (other, one)) for line in compare_runs(*runs)[0])


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
        json.dumps(run_of(10**400, 0)),
        json.dumps(run_of(100)).replace('"paced"', '"other"'),
        json.dumps(run_of(100)).replace("[99.0, 101.0]", "[99.0]"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(FileError, match=r"run.json: (not|no contestant)"):
        read_run(tmp_path / "run.json")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_a_run_without_end_is_refused() -> None:
    with pytest.raises(FileError, match="larger than 1 MiB"):
        read_run(Path("/dev/zero"))
