"""The networks: their exact sizes, what they take, and what they refuse."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import resize

from fmnist_runtime.errors import ConfigError
from fmnist_train.data.sources import find_dataset
from fmnist_train.models import MODELS, build_model, count_macs, count_parameters
from fmnist_train.models.layers import ResidualBlock, Resize
from fmnist_train.recipes import CLAIMS, RECIPES

PARAMETERS = {
    "improved": 437_162,
    "best": 435_882,
    "batchnorm": 18_494,
    "fashion": 421_642,
    "feedforward": 568_330,
    "hybrid": 369_930,
    "simple": 241_546,
    "custom": 421_866,
    "residual": 423_146,
    "resnet": 381_778,
}
OURS = {
    "nano": (18_186, 20_000, 3e6),
    "micro": (96_890, 100_000, 10e6),
    "improved-lite": (116_602, 440_000, 10e6),
    "best": (435_882, 440_000, 40e6),
}
"""Parameters, and the bounds of parameters and multiplications, of our own sizes."""


def test_sizes_are_those_published() -> None:
    assert {name: count_parameters(build_model(name)) for name in MODELS} == PARAMETERS
    for name, (parameters, most, most_macs) in OURS.items():
        model = build_model(RECIPES[name].model, **RECIPES[name].model_options)
        assert count_parameters(model) == parameters <= most
        assert count_macs(model) <= most_macs
    assert count_macs(build_model("fashion")) == 784 * 9 * 32 + 196 * 9 * 32 * 64 + 3136 * 128 + 128 * 10


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_bytes_and_knows_its_classes(name: str) -> None:
    model = build_model(name, classes=3).eval()
    pixels = torch.randint(256, (2, 1, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        assert model(pixels).shape == (2, 3)
        assert torch.equal(model(pixels), model(pixels.float()))


def test_every_model_has_a_recipe_of_its_name() -> None:
    """Except ``residual``, whose recipes are named by its sizes."""
    assert set(MODELS) - set(RECIPES) == {"residual"} and set(CLAIMS) <= set(RECIPES)
    assert all(RECIPES[name].model == name for name in MODELS if name in RECIPES)
    assert {RECIPES[size].model for size in OURS} == {"residual", "best"}


def test_resizing_is_that_of_pillow() -> None:
    images = find_dataset("sample").load("test").images[:20]
    ours = Resize(16)(torch.from_numpy(images).unsqueeze(1).float())
    for image, found in zip(images, ours, strict=True):
        expected = torch.from_numpy(np.array(resize(Image.fromarray(image), [16, 16])))
        assert (found[0] - expected).abs().max() <= 1.01  # Pillow rounds once along each axis


def test_resnet_has_the_blocks_that_it_is_given() -> None:
    model = build_model("resnet", widths=[8, 12, 16], blocks=[1, 2, 3])
    blocks = [layer for layer in model.modules() if isinstance(layer, ResidualBlock)]
    assert [len(block.shortcut) for block in blocks] == [0, 2, 0, 2, 0, 0], "projections where width or size change"
    features, sizes = torch.zeros(2, 1, 28, 28), []
    for layer in model:
        features = layer(features)
        sizes += [tuple(features.shape[1:])] if isinstance(layer, ResidualBlock) else []
    assert sizes == [(8, 28, 28), *[(12, 14, 14)] * 2, *[(16, 7, 7)] * 3] and features.shape == (2, 10)
    for options in (
        {"blocks": [1, 2]},
        {"blocks": [0, 1, 1]},
        {"widths": [8, 8]},
        {"widths": [8, 7, 8]},
        {"dropout": 1.0},
    ):
        with pytest.raises(ConfigError, match="--"):
            build_model("resnet", **options)


def test_custom_is_built_from_its_options() -> None:
    model = build_model("custom", channels=[8, 16, 24], hidden=[], kernel=5, batch_norm=False)
    assert count_parameters(model) == (25 * 8 + 8) + (25 * 8 * 16 + 16) + (25 * 16 * 24 + 24) + (24 * 9 * 10 + 10)
    for options in ({"channels": [8] * 5}, {"channels": [0]}, {"hidden": [-1]}, {"kernel": 4}, {"dropout": 1.0}):
        with pytest.raises(ConfigError):
            build_model("custom", **options)
    with pytest.raises(
        ConfigError, match=r"'simple' has no option 'drop' \(did you mean 'dropout'\?\); its options: classes, dropout"
    ):
        build_model("simple", drop=0.1)
