"""Networks that int8 breaks, made on purpose, and the models that ``--rescue`` finds for them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_export.inspection import inspect_model
from fmnist_export.quantization import fallback
from fmnist_runtime import Classifier
from fmnist_runtime.selftest import selftest
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits

OPTIONS = [
    *("--quantize", "--data", "sample", "--calibration-images", "256"),
    *("--max-drop", "1", "--min-agreement", "0.97", "--max-latency-ratio", "0"),
]
"""On a thousand images one answer is 0.1 points; and a network this small is no faster in integers."""
Run = Callable[..., int]

pytestmark = pytest.mark.usefixtures("one_thread")


def rescued(folder: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """Exports a hostile network without and with ``--rescue``, checks what holds for any curve, and returns the curve."""
    checkpoint = (folder / "best.safetensors").read_bytes()
    assert run(folder, *OPTIONS) == 3
    assert "did not pass" in capsys.readouterr().err and not (folder / "export").exists()
    assert run(folder, *OPTIONS, "--rescue") == 0
    printed = capsys.readouterr()
    curve = json.loads((folder / "export" / "parity.json").read_text())["rescue"]
    for row in curve:
        assert row["latency"]["int8"] > 0 and 0 < row["compressed"] < row["bytes"] and row["step"] in printed.err
    text = (folder / "export" / "parity.txt").read_text()
    assert all(row["step"] in text for row in curve) and text.strip() in printed.out
    assert curve[0]["gate"] and [row["gate"] == [] for row in curve] == [False] * (len(curve) - 1) + [True]
    assert curve[-1]["agreement"] >= 0.97 > curve[0]["agreement"]  # by how much depends on the processor
    assert [row["step"] for row in curve[:3]] == ["as asked", "calibration percentile", "calibration entropy"]
    assert (folder / "best.safetensors").read_bytes() == checkpoint
    test = find_dataset("sample").load("test").images
    expected = predict_logits(load_checkpoint(folder).model, test)
    assert np.abs(Classifier.load(folder / "export" / "model.onnx").logits(test[:, None]) - expected).max() < 1e-3
    assert run("verify", folder / "export", "--data", "sample") == 0
    return curve


def test_huge_activations_need_two_layers_in_float(
    hostile: Callable[..., Path], tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer that reads them, and the one that gives them: as long as one of both is an integer layer, 8 bits lie between."""
    curve = rescued(hostile([1], dead=False), run, capsys)
    assert curve[-1]["step"] == "relu_2, relu_1 in float"
    found = inspect_model(tmp_path / "export")
    assert found["metadata"]["calibration"]["float_layers"] == ["relu_2", "relu_1"]
    assert "tuning" not in found["metadata"]["calibration"]
    # Left to itself, onnxruntime would quantize them again while it loads the file.
    assert [node["integer"] for node in found["executed"] if node["weight"]] == [True, False, False, True, True]
    replay = selftest(Classifier.load(tmp_path / "export"))
    assert replay.passed and 0 < replay.tolerance < 1  # float sums are not the same to the bit everywhere


def test_huge_weights_on_dead_channels_of_all_layers_need_fine_tuning(
    hostile: Callable[..., Path], tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = rescued(hostile([0, 1, 2, 3], dead=True), run, capsys)
    assert curve[-1]["step"] == "fine-tuned" and sum("in float" in row["step"] for row in curve) == 2
    found = inspect_model(tmp_path / "export")
    assert found["metadata"]["calibration"]["tuning"]["epochs"] > 0
    assert all(node["integer"] for node in found["executed"] if node["weight"])
    assert selftest(Classifier.load(tmp_path / "export")).tolerance == 0
    assert Classifier.load(tmp_path / "export" / "model.onnx").metadata.document["calibration"] is None


def test_a_search_in_vain_writes_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fallback, "fine_tune", lambda network, *_: network)
    options = ["--quantize", "--data", "sample", "--calibration-images", "64", "--max-drop", "-100", "--rescue"]
    assert run(trained, *options, "-o", tmp_path / "none") == 3
    assert (
        "--rescue tried 5 other candidates, and none passed" in capsys.readouterr().err
        and not (tmp_path / "none").exists()
    )
