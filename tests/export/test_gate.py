"""The limits of the gate, for each precision and for latency."""

import numpy as np

from fmnist_export.evaluation import compare_logits
from fmnist_export.gate import gate_failures
from fmnist_export.settings import Limits


def test_the_gate_sees_wrong_weights_and_not_a_number() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    same = {"float32": compare_logits(logits, logits, labels), "int8": compare_logits(logits, logits, labels)}
    assert gate_failures(same, Limits()) == [] and same["int8"]["mcnemar_p"] == 1
    for wrong in (logits[:, ::-1], logits + 0.01, np.full_like(logits, np.nan)):
        assert gate_failures({"float32": compare_logits(logits, wrong, labels)}, Limits())
    sure = np.eye(10, dtype=np.float32)[labels]
    broken = {"float32": compare_logits(sure, sure, labels), "int8": compare_logits(sure, logits, labels)}
    faults = gate_failures(broken, Limits(), labels=list("abcdefghij"))
    assert [
        word in fault for word, fault in zip(("accuracy", "points on", "--min-agreement"), faults, strict=True)
    ] == [True] * 3
    assert broken["int8"]["mcnemar_p"] < 1e-6


def test_the_gate_checks_every_class() -> None:
    """One loses a little more, by chance; the other loses clearly."""
    labels = np.repeat([0, 1], 1000)
    reference, other = labels.copy(), labels.copy()
    reference[:600], other[200:831] = 1, 1  # changes in both directions, and 31 more are lost than won
    other[1000:1030] = 0
    found = {name: compare_logits(*(np.eye(2, dtype=np.float32)[a] for a in (reference, answers)), labels)
             for name, answers in (("float32", reference), ("int8", other))}  # fmt: skip
    (fault,) = gate_failures(found, Limits(max_drop=100, min_agreement=0), labels=["noisy", "clear"])
    assert "3.0 points on clear" in fault


def test_int8_must_be_faster_than_float() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    same = {"float32": compare_logits(logits, logits, labels), "int8": compare_logits(logits, logits, labels)}
    slow = {"int8": 300.0, "float32": 200.0, "ratio": 1.5}
    (failure,) = gate_failures(same, Limits(), slow)
    assert "ratio of 1.50" in failure and "--max-latency-ratio 0" in failure
    assert (
        gate_failures(same, Limits(max_latency_ratio=2.0), slow)
        == gate_failures(same, Limits(max_latency_ratio=0), slow)
        == []
    )
    assert gate_failures(same, Limits(), {**slow, "ratio": float("nan")})


def test_float16_has_limits_of_its_own() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 10)).astype(np.float32), rng.integers(0, 10, 500)
    exact = {"float32": compare_logits(logits, logits, labels)}
    near = logits * (1 + 1e-3 * rng.uniform(-1, 1, logits.shape))
    limits = Limits(min_half_agreement=0.99)
    assert gate_failures({**exact, "float16": compare_logits(logits, near, labels)}, limits) == []
    for wrong, word in (
        (near + 0.1, "logits differ"),
        (logits[:, ::-1], "PyTorch's class"),
        (near * np.nan, "logits differ"),
    ):
        assert any(
            word in fault
            for fault in gate_failures({**exact, "float16": compare_logits(logits, wrong, labels)}, limits)
        )
