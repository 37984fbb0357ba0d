"""Fixtures of the export's tests: the command, and exports that several files read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fmnist_export.cli import main
from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits, QuantizationSettings
from fmnist_train.models import build_model

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Returns a function that runs ``fmnist-export`` with some arguments and returns its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["fmnist-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return end.value.code

    return call


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped network in every form, evaluated on the embedded sample; tests must not change it."""
    folder = tmp_path_factory.mktemp("exported")
    options = ExportOptions(
        output=folder,
        quantize=True,
        quantization=QuantizationSettings(images=256),
        limits=Limits(max_latency_ratio=0),
        half=True,
        ort=True,
        data="sample",
    )
    export(ARTIFACTS / "improved", options)
    return folder


@pytest.fixture(scope="session")
def random_model() -> nn.Module:
    """Returns a network with random batch-norm statistics far from 0 and 1, which reveal mistakes in folding."""
    torch.manual_seed(0)
    model = build_model("improved")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.2, 3)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return model.eval()
