"""The self-test: stored images and logits are reproduced."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.cli.formatting import print_selftest
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.selftest import Golden, pack_golden, require_selftest, selftest

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


@pytest.mark.parametrize(("images", "rows"), [(0, 0), (2, 1)])
def test_images_need_one_row_of_logits_each(make_model: Make, images: int, rows: int) -> None:
    stored = pack_golden(Golden(np.zeros((images, 1, 28, 28), np.uint8), np.zeros((rows, 3), np.float32), 0.1))
    with pytest.raises(ModelError, match="not one row of logits for each"):
        selftest(Classifier.load(make_model(selftest=stored)))


def test_a_failed_or_missing_selftest_stops_the_start(make_model: Make, tiny_model: Path) -> None:
    images = np.zeros((1, 1, 28, 28), np.uint8)
    right = Classifier.load(tiny_model).logits(images)
    with pytest.raises(ModelError, match="no self-test images"):
        require_selftest(Classifier.load(tiny_model))
    require_selftest(Classifier.load(make_model(selftest=pack_golden(Golden(images, right, 1e-4)))))
    with pytest.raises(ModelError, match="would compute wrong answers"):
        require_selftest(Classifier.load(make_model(selftest=pack_golden(Golden(images, right + 1, 1e-4)))))


def test_a_failure_is_printed_with_its_size(
    make_model: Make, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.zeros((1, 1, 28, 28), np.uint8)
    wrong = Classifier.load(tiny_model).logits(images) + 1
    result = selftest(Classifier.load(make_model(selftest=pack_golden(Golden(images, wrong, 1e-4)))))
    assert print_selftest(result, as_json=False) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("self-test FAILED: 1 images, logits agree to 1 (allowed 0.0001)")
    assert printed.err.count("\n") == 1 and "other logits" in printed.err
    assert print_selftest(result, as_json=True) == 1 and json.loads(capsys.readouterr().out)["passed"] is False
