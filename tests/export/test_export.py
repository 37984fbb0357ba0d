"""Export: the same answers in all three forms, the same bytes twice, and a gate that fails."""

import base64
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_export import latency as speed
from fmnist_export.calibration import fit_reject, fit_temperature
from fmnist_export.convert import OPSET, to_onnx
from fmnist_export.gate import compare, compare_answers, judge
from fmnist_export.graph import executed_operators, signal_to_noise
from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.quantization.quantize import quantise
from fmnist_export.settings import Limits, Quantisation
from fmnist_runtime import Classifier
from fmnist_runtime.errors import CheckpointError, ConfigError, GateError
from fmnist_runtime.reject import SCORES
from fmnist_runtime.selftest import selftest
from fmnist_train.checkpoint import save_checkpoint
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Random weights with batch-norm statistics far from 0 and 1: folding mistakes hide behind trivial ones."""
    torch.manual_seed(0)
    model = build_model("improved")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.2, 3)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return find_dataset("sample").load("test").images[:200]


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"image": images[:, None]})


def test_float_logits_are_pytorchs(model: nn.Module, images: np.ndarray) -> None:
    exported = to_onnx(model, 1.7)
    logits, probabilities = run(exported, images)
    expected = predict_logits(model, images)
    assert np.abs(logits - expected).max() < 1e-4
    softened = torch.softmax(torch.from_numpy(expected) / 1.7, 1).numpy()
    assert np.abs(probabilities - softened).max() < 1e-5
    assert [e.version for e in exported.opset_import] == [OPSET]
    assert not any(n.metadata_props or n.doc_string or n.op_type == "BatchNormalization" for n in exported.graph.node)


def test_int8_takes_pixels_and_runs_as_integers(model: nn.Module, images: np.ndarray) -> None:
    reference = to_onnx(model)
    quantised = quantise(reference, images, Quantisation())
    first = [n for n in quantised.graph.node if "image" in n.input]
    assert [n.op_type for n in first] == ["DequantizeLinear"]
    values = {i.name: onnx.numpy_helper.to_array(i) for i in quantised.graph.initializer}
    assert values[first[0].input[1]] == np.float32(1 / 90) and values[first[0].input[2]] == 73
    operators = executed_operators(quantised.SerializeToString())
    assert operators["QLinearConv"] == 5 and operators["QGemm"] == 2
    assert not {"Conv", "FusedConv", "Gemm", "QuantizeLinear"} & set(operators)
    weights = [v for k, v in values.items() if k.endswith("weight_quantized")]
    assert len(weights) == 7 and all(np.abs(w.astype(int)).max() <= 64 for w in weights)  # 7 bits
    logits, expected = run(quantised, images)[0], predict_logits(model, images)
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.9
    assert set(signal_to_noise(reference, quantised, images[:8])) >= {"logits"}


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    options = {"quantise": True, "data": "sample", "quantisation": Quantisation(images=256)}
    for name in ("one", "two"):
        export(ROOT / "artifacts" / "improved", ExportOptions(tmp_path / name, **options))
    for name in ("model.onnx", "model.int8.onnx"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    classifier = Classifier.load(tmp_path / "one")
    assert classifier.metadata.precision == "int8" and selftest(classifier).bit_identical
    document = classifier.metadata.document
    assert document["training"]["recipe"]["name"] == "improved-photos" and len(document["checkpoint_sha256"]) == 64
    assert len(base64.b64decode(document["selftest"]["logits"])) == 8 * 10 * 4


def test_a_failed_gate_leaves_the_good_file(tmp_path: Path) -> None:
    good = tmp_path / "model.int8.onnx"
    good.write_bytes(b"the good one")
    options = ExportOptions(tmp_path, True, Quantisation(images=256), Limits(max_drop=-100), data="sample")
    with pytest.raises(GateError, match="noisiest layers") as failure:
        export(ROOT / "artifacts" / "improved", options)
    assert failure.value.exit_code == 3
    assert [p.name for p in tmp_path.iterdir()] == ["model.int8.onnx"] and good.read_bytes() == b"the good one"


def test_no_file_of_other_weights_stays(tmp_path: Path) -> None:
    limits = Limits(max_latency_ratio=None)
    smaller = ExportOptions(tmp_path, True, Quantisation(images=256), limits, data="sample")
    export(ROOT / "artifacts" / "improved", smaller)
    export(ROOT / "artifacts" / "improved", ExportOptions(tmp_path, data="sample"))
    assert (tmp_path / "model.int8.onnx").is_file()  # of the same weights
    export(ROOT / "artifacts" / "best", ExportOptions(tmp_path, data="sample"))
    assert not (tmp_path / "model.int8.onnx").exists()
    assert "int8" not in (tmp_path / "SHA256SUMS").read_text()
    shipped = Classifier.load(ROOT / "artifacts" / "best" / "model.onnx").metadata.document
    assert Classifier.load(tmp_path).metadata.document["checkpoint_sha256"] == shipped["checkpoint_sha256"]


def test_other_classes_and_impossible_settings(tmp_path: Path, model: nn.Module) -> None:
    info = {
        "model": {"name": "improved", "options": {}},
        "labels": list("abcdefghij"),
        "recipe": RECIPES["improved-published"].to_dict(),
    }
    save_checkpoint(tmp_path / "best", model, info)
    with pytest.raises(CheckpointError, match="other classes"):
        export(tmp_path, ExportOptions(data="sample"))
    for settings in ({"target": "abacus"}, {"calibration": "guess"}, {"images": 0}):
        with pytest.raises(ConfigError):
            Quantisation(**settings)
    with pytest.raises(ConfigError):
        to_onnx(model, 0)


def test_the_gate_sees_wrong_weights_and_not_a_number() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    same = {"float32": compare(logits, logits, labels), "int8": compare(logits, logits, labels)}
    assert judge(same, Limits()) == [] and same["int8"]["mcnemar_p"] == 1
    for wrong in (logits[:, ::-1], logits + 0.01, np.full_like(logits, np.nan)):
        assert judge({"float32": compare(logits, wrong, labels)}, Limits())
    sure = np.eye(10, dtype=np.float32)[labels]
    broken = {"float32": compare(sure, sure, labels), "int8": compare(sure, logits, labels)}
    faults = judge(broken, Limits(), labels=list("abcdefghij"))
    assert [word in fault for word, fault in zip(("accuracy", "points on", "answers"), faults, strict=True)] == [
        True
    ] * 3
    assert broken["int8"]["mcnemar_p"] < 1e-6


def test_the_gate_asks_every_class() -> None:
    """One loses a little more, by chance; the other loses clearly."""
    labels = np.repeat([0, 1], 1000)
    reference, other = labels.copy(), labels.copy()
    reference[:600], other[200:831] = 1, 1  # changes in both directions, and 31 more are lost than won
    other[1000:1030] = 0
    found = {name: compare(*(np.eye(2, dtype=np.float32)[a] for a in (reference, answers)), labels)
             for name, answers in (("float32", reference), ("int8", other))}  # fmt: skip
    (fault,) = judge(found, Limits(max_drop=100, min_agreement=0), labels=["noisy", "clear"])
    assert "3.0 points on clear" in fault


def test_the_interval_of_a_drop_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    labels, covered = np.zeros(500, int), 0
    for _ in range(300):
        shared = rng.random(500)  # right by one model, by both, by the other: a true drop of 1 point
        reference, other = np.where(shared < 0.93, 0, 1), np.where((shared > 0.03) & (shared < 0.95), 0, 1)
        low, high = compare_answers(reference, other, labels)["drop_interval"]
        covered += low <= 1 <= high
    assert 0.92 < covered / 300 < 0.98
    low, high = compare_answers(labels, labels, labels)["drop_interval"]
    assert low < 0 < high  # no change in 500 images is no proof of none


def test_int8_must_be_faster_than_float() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    same = {"float32": compare(logits, logits, labels), "int8": compare(logits, logits, labels)}
    slow = {"int8": 300.0, "float32": 200.0, "ratio": 1.5}
    assert "ratio of 1.50" in judge(same, Limits(), slow)[0]
    assert judge(same, Limits(max_latency_ratio=2.0), slow) == judge(same, Limits(max_latency_ratio=None), slow) == []
    assert judge(same, Limits(), {**slow, "ratio": float("nan")})


def test_noise_does_not_fail_a_fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = iter([1.4, 1.2, 0.5, 9.9])
    monkeypatch.setattr(speed, "compare_latency", lambda *_: {"ratio": next(ratios)})
    monkeypatch.setattr(speed.time, "sleep", lambda _: None)
    assert speed.judge_latency(None, None, None, 1.0) == {"ratio": 0.5, "attempts": 3}
    ratios = iter([1.4, 1.2, 1.5, 1.3])
    assert speed.judge_latency(None, None, None, 1.0) == {"ratio": 1.2, "attempts": 4}


def test_temperature_and_threshold_are_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 10)) * 3
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (shares.cumsum(1) > rng.random((20000, 1))).argmax(1)  # drawn from exactly these probabilities
    accepted = np.eye(10, dtype=bool)[labels]
    alone = fit_temperature(logits, labels)
    assert fit_temperature(logits, labels, (logits, accepted)) == pytest.approx(alone)
    assert fit_temperature(logits, labels, (logits * 2, accepted)) > 1.1 * alone
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)
    for score in SCORES:
        rule = fit_reject(logits, 1.0, score)
        accepted = SCORES[score](logits, shares) >= rule["threshold"]
        assert rule["score"] == score and accepted.mean() == pytest.approx(0.95, abs=0.005)
