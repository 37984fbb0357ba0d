"""Table and chart of the benchmark, and the agreement of the contestants."""

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fmnist_bench.cli import bench
from fmnist_bench.report import format_table, score_answers, write_chart
from fmnist_runtime.console import run_argparse
from fmnist_runtime.errors import MissingExtraError

MACHINE = {"processor": "Some Processor", "flags": ["avx2"], "cpus_allowed": 2, "governor": None}


def figures(p50: float, **more: Any) -> dict[str, Any]:
    latency = {
        **dict.fromkeys(("p50", "p90", "p99", "p99.9", "mean"), p50),
        "p50 interval": [p50 - 1, p50 + 1],
    }
    return {
        "hot": latency,
        "paced": latency,
        "cold_start": latency,
        "ratio": {"ratio": 1.0, "interval": [0.9, 1.1]},
        "hot_cpu_us": p50,
        "paced_cpu_us": 2 * p50,
        "peak_rss": 70e6,
        "installed": {"numpy": 30e6, "onnxruntime": 20e6},
        "model_bytes": 200_000,
        "throughput": {"1": {"1": 5000.0, "32": 9000.0}, "2": {"1": 4000.0}},
        **more,
    }


def test_answers_become_agreement_and_accuracy() -> None:
    labels = list(range(10)) * 10
    results: dict[str, dict[str, Any]] = {
        "reference": {"answers": list(labels)},
        "close": {"answers": [*labels[:-1], 0]},
        "wrong": {"answers": [0] * 100},
        "gone": {"missing": "not installed"},
    }
    score_answers(results, "reference", labels)
    assert results["close"] == {"agreement": 0.99, "wrong": False, "accuracy": 0.99}
    assert results["wrong"] == {"agreement": 0.1, "wrong": True, "accuracy": 0.1}
    assert results["gone"] == {"missing": "not installed"}


def test_few_images_without_labels_need_less_agreement() -> None:
    results: dict[str, dict[str, Any]] = {"a": {"answers": [1] * 10}, "b": {"answers": [1] * 9 + [2]}}
    score_answers(results, "a", None)
    assert results["b"] == {"agreement": 0.9, "wrong": False}
    alone: dict[str, dict[str, Any]] = {"b": {"answers": [1]}}
    score_answers(alone, "a", None)
    assert alone == {"b": {}}


def test_the_table_has_a_row_for_each_contestant() -> None:
    results = {
        "a": figures(100, accuracy=0.95, agreement=1.0),
        "b": figures(250, wrong=True, agreement=0.5, throughput={}),
        "c": {"missing": "not installed"},
    }
    *head, a, b, c = format_table({"machine": MACHINE, "results": results}).splitlines()
    assert head[0].startswith("Some Processor (avx2), 2 CPUs, governor unknown")
    assert a.startswith("| a | 100 [99, 101] |") and "| 50 | 9,000 | 95.00% | 100.00% |" in a
    assert "b **wrong answers**" in b and "| - | - | 50.00% |" in b
    assert c == "| c | missing: not installed |"
    assert head[-2].count("|") == head[-1].count("|") == a.count("|") == b.count("|")


def test_one_cpu_without_known_flags_is_described_in_the_singular() -> None:
    text = format_table({"machine": {**MACHINE, "flags": [], "cpus_allowed": 1}, "results": {}})
    assert text.startswith("Some Processor, 1 CPU, governor")


@pytest.mark.parametrize("accuracies", [[], [0.95], [0.95, 0.9501, 0.90]])
def test_the_chart_is_written(accuracies: list[float], tmp_path: Path) -> None:
    results = {f"contestant {i}": figures(100 * (i + 1), accuracy=share) for i, share in enumerate(accuracies)}
    write_chart({"results": {**results, "gone": {"missing": "not installed"}}}, tmp_path / "new" / "chart.png")
    with Image.open(tmp_path / "new" / "chart.png") as chart:
        assert chart.size[0] > 600 and chart.convert("L").getextrema() == (0, 255)


def test_without_matplotlib_the_chart_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"--picture needs matplotlib: .*bench"):
        write_chart({"results": {}}, tmp_path / "chart.png")


def test_a_chart_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    refused = (
        ("chart.foo", 2, "unknown format 'foo'"),
        ("file/chart.png", 1, "cannot write into"),
        ("", 2, "is a folder; name a file"),
        ("folder", 2, "folder.png is a folder; name a file"),
    )
    for name, code, message in refused:
        assert run_argparse(bench, args=["--quick", "--picture", str(tmp_path / name)]) == code
        assert message in capsys.readouterr().err


def test_a_full_disk_leaves_the_earlier_chart_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chart.png"
    path.write_bytes(b"earlier")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_chart({"results": {}}, path)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]
