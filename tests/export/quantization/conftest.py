"""Fixtures of the quantization tests: small networks and calibration images."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fmnist_export.graph import tensor_values
from fmnist_train.checkpoint import load_checkpoint, save_checkpoint
from fmnist_train.data.sources import find_dataset
from fmnist_train.models import Normalize
from fmnist_train.recipes import RECIPES
from fmnist_train.training.loop import Training

HUGE = 1e4
"""Factor of a planted outlier."""


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Returns 128 calibration images."""
    return find_dataset("sample").load("train").images[:128]


@pytest.fixture(scope="session")
def small_network() -> Callable[..., nn.Sequential]:
    """Returns a function that builds a network."""

    def build(groups: int = 1) -> nn.Sequential:
        """Two convolutions and a dense layer; one channel has a range that is many times that of the others."""
        torch.manual_seed(0)
        network = nn.Sequential(
            Normalize(),
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=groups),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(392, 10),
        )
        with torch.no_grad():
            network[1].weight[3] *= 200
            network[3].weight[:, 3 if groups == 1 else 0] /= 200
        return network.eval()

    return build


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the run folder of three convolutions and two dense layers, trained for seconds; tests must not change it."""
    source, folder = find_dataset("sample"), tmp_path_factory.mktemp("trained")
    images = source.load("train")
    options = {"channels": [8, 16, 16], "hidden": [32]}
    recipe = dataclasses.replace(
        RECIPES["custom"], epochs=6, batch_size=50, validation=0.1, ema_decay=0, patience=0, model_options=options
    )
    parts = images.take(np.arange(0, 1800)), images.take(np.arange(1800, 2000))
    about = {"labels": list(source.labels), "dataset": "sample"}
    Training(recipe, *parts, folder, device=torch.device("cpu"), description=about).run()
    return folder


@pytest.fixture
def hostile(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that plants outliers into the trained network and returns the run folder."""

    def plant(which: list[int], *, dead: bool) -> Path:
        """Plants an outlier after some batch norms, in a channel of the activation or in the weights that read it.

        With ``dead`` the channel is always zero, and the weights that read it are huge. In float nothing changes, but the
        scale of all other weights grows. Otherwise the channel's values are huge, and the weights that read it are small. In
        float nothing changes either, but the one scale of the activation leaves the other channels no steps.
        """
        checkpoint = load_checkpoint(trained)
        layers = [m for m in checkpoint.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        norms = [m for m in checkpoint.model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        with torch.no_grad():
            for index in which:
                norm, reader = norms[index], layers[index + 1].weight
                places = reader.shape[1] // len(norm.weight)
                norm.weight[0] *= 0 if dead else HUGE
                norm.bias[0] = -1 if dead else norm.bias[0] * HUGE
                reader[:, :places] *= HUGE if dead else 1 / HUGE
        save_checkpoint(tmp_path / "best", checkpoint.model, checkpoint.info)
        return tmp_path

    return plant


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Runs PyTorch with one thread: layers this small take longer where threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def logit_error() -> Callable[..., float]:
    """Returns a function that computes the relative error of one model's logits to another's."""

    def compute(reference: onnx.ModelProto, other: onnx.ModelProto, images: np.ndarray) -> float:
        one, two = (tensor_values(model, ["logits"], images)["logits"] for model in (reference, other))
        return float(np.sqrt(((one - two) ** 2).mean()) / one.std())

    return compute
