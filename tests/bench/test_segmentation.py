"""The study of a learned segmentation: limits of its network, gradients through the crop, changes of photos."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from fmnist_runtime.preprocessing import pipeline

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDIES)
    return importlib.import_module("segmentation_network")


@pytest.fixture
def augmentation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDIES)
    return importlib.import_module("segmentation_augmentation")


def photo() -> tuple[np.ndarray, np.ndarray]:
    """A dark patterned rectangle on a light background, ``[128, 96, 3]``, and its mask at every second pixel."""
    rgb = np.full((128, 96, 3), 220, np.uint8)
    rgb[30:111, 20:71] = np.random.default_rng(0).integers(20, 120, (81, 51, 3))
    mask = np.zeros((64, 64), np.float32)
    mask[15:56, 10:36] = 1
    return rgb, mask


def test_network_stays_within_its_limits(network: ModuleType) -> None:
    model = network.SegmentationNetwork().eval()
    assert network.macs(model) <= 25_000_000
    assert sum(weight.numel() for weight in model.parameters()) <= 230_000
    assert model(torch.from_numpy(network.canvas(photo()[0])[None, None])).shape == (1, 1, 64, 64)


def test_differentiable_input_equals_that_of_the_runtime(network: ModuleType) -> None:
    rgb, mask = photo()
    log_odds = torch.from_numpy(6 * mask - 3)[None].requires_grad_()
    planes = network.canvas(rgb).reshape(1, 3, 128, 128)
    images, found = network.classifier_inputs(log_odds, planes, np.array([[128, 96]]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "segment", lambda _: (network.mask_of(6 * mask - 3, (128, 96)), False))
        expected = pipeline.to_network_input(Image.fromarray(rgb))
    assert found.tolist() == [0]
    assert np.abs(images[0, 0].detach().numpy() - expected).max() <= 0.51  # the runtime rounds
    images.square().mean().backward()
    assert log_odds.grad is not None and log_odds.grad.isfinite().all() and (log_odds.grad != 0).any()


def test_mask_moves_with_the_garment(augmentation: ModuleType) -> None:
    rgb = np.zeros((4, 3, 128, 128), np.uint8)
    mask = np.zeros((4, 128, 128), bool)
    mask[:, 40:90, 30:70] = True
    rgb[:, 0] = np.where(mask, 250, 10)
    trusted = np.zeros(4, bool)  # nothing is pasted
    sample = augmentation.Sample(rgb, mask, np.full((4, 2), (128, 96)), trusted, np.zeros((4, 10), bool))
    changed = augmentation.change(sample, np.random.default_rng(0))
    assert (changed.mask != mask).any()
    for number, (height, width) in enumerate(changed.size):
        red = changed.rgb[number, 0, :height, :width].astype(int)
        seen = changed.mask[number, :height, :width]
        assert red[seen].mean() > red[~seen].mean() + 60
        assert not changed.mask[number, height:].any() and not changed.mask[number, :, width:].any()
