"""The fitted temperature and the fitted threshold."""

import numpy as np
import pytest

from fmnist_export.calibration import fit_reject, fit_temperature
from fmnist_runtime.reject import SCORES


def test_few_correct_images_do_not_make_probabilities_extreme(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(7) % 3
    logits = np.eye(3)[labels]
    assert fit_temperature(logits, labels) == pytest.approx(1)
    assert "the probabilities are fitted to 7 validation images only: take them as rough" in caplog.text
    assert fit_temperature(-logits, labels) > 1
    many = np.arange(300) % 3
    assert fit_temperature(np.eye(3)[many], many) < 0.1


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
