"""The self-test: stored images and logits are reproduced."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.selftest import Golden, pack_golden, selftest

Make = Callable[..., Path]


def test_selftest_catches_other_arithmetic(make_model: Make, tiny_model: Path) -> None:
    images = np.random.default_rng(2).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
    logits = Classifier.load(tiny_model).logits(images)
    assert selftest(Classifier.load(make_model(selftest=pack_golden(Golden(images, logits, 1e-4))))).passed
    wrong = pack_golden(Golden(images, logits + 0.01, 1e-4))
    assert not selftest(Classifier.load(make_model(selftest=wrong))).passed
    with pytest.raises(ModelError, match="malformed"):
        selftest(Classifier.load(make_model(selftest={"images": "%", "logits": "", "tolerance": 0})))


@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_embedded_models_pass_their_own_selftest(name: str) -> None:
    result = selftest(Classifier.load(name))
    assert result.passed and result.bit_identical and result.images == 8
