"""Repeated measurements of latency."""

import pytest

from fmnist_export import latency


def test_noise_does_not_fail_a_fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = iter([1.4, 1.2, 0.5, 9.9])
    monkeypatch.setattr(latency, "compare_latency", lambda *_: {"ratio": next(ratios)})
    monkeypatch.setattr(latency.time, "sleep", lambda _: None)
    assert latency.measure_latency(None, None, None, 1.0) == {"ratio": 0.5, "attempts": 3}
    ratios = iter([1.4, 1.2, 1.5, 1.3])
    assert latency.measure_latency(None, None, None, 1.0) == {"ratio": 1.2, "attempts": 4}
