"""Every registered network trains, exports, quantizes to integer kernels, passes the gate and runs on the device's side."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits, QuantizationSettings
from fmnist_export.verify import verify
from fmnist_runtime import Classifier
from fmnist_train.data.sources import find_dataset
from fmnist_train.models import MODELS
from fmnist_train.recipes import RECIPES
from fmnist_train.training.loop import Training

FLOAT_LAYERS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Mul", "Add", "Sigmoid"}
LIMITS = Limits(max_drop=1.0, min_agreement=0.97, max_latency_ratio=0)
"""On a thousand images one answer is 0.1 points, and a network after two epochs has narrow margins everywhere."""

SMALL = {"residual": {"widths": [8, 16, 24]}, "resnet": {"widths": [8, 16, 24], "blocks": [1, 2, 1]}}
"""Options of networks that may have any size: the layers are the same, and the test takes a third of the time."""


@pytest.mark.parametrize("name", [name for name in MODELS if name != "improved"])  # which has tests of its own
def test_from_training_to_the_device(name: str, tmp_path: Path) -> None:
    source = find_dataset("sample")
    images = source.load("train")
    trained_as = next(recipe for recipe in RECIPES.values() if recipe.model == name)
    short = {"epochs": 2, "batch_size": 50, "validation": 0.1, "ema_decay": 0, "patience": 0}
    recipe = dataclasses.replace(trained_as, model_options=SMALL.get(name, trained_as.model_options), **short)
    about = {"labels": list(source.labels), "dataset": "sample"}
    halves = images.take(np.arange(0, 1000)), images.take(np.arange(1000, 1200))
    Training(recipe, *halves, tmp_path, device=torch.device("cpu"), description=about).run()
    options = ExportOptions(quantize=True, quantization=QuantizationSettings(images=256), limits=LIMITS, data="sample")
    export(tmp_path, options)
    operators = json.loads((tmp_path / "export" / "parity.json").read_text())["files"]["int8"]["operators"]
    assert not FLOAT_LAYERS & set(operators) and "QGemm" in operators
    classifier = Classifier.load(tmp_path / "export" / "model.int8.onnx")
    assert classifier.metadata.document["model"]["name"] == name
    assert classifier.logits(images.images[:2, None]).shape == (2, 10)
    assert all(claim.holds for claim in verify(tmp_path / "export" / "model.int8.onnx", source))
