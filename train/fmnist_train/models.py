"""The networks. Each takes raw pixels ``[N, 1, 28, 28]`` (uint8, or float in 0..255) and returns logits ``[N, classes]``.

Normalisation is a layer of the network, so a checkpoint, an exported file and the device cannot disagree about it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import PIXEL_MEAN, PIXEL_STD

__all__ = ["MODELS", "Normalise", "build_model", "count_parameters"]


class Normalise(nn.Module):
    """``(pixel - mean) / std`` on 8-bit pixel values; no parameters."""

    def __init__(self, mean: float = PIXEL_MEAN, std: float = PIXEL_STD) -> None:
        super().__init__()
        self.mean = float(mean)
        self.std = float(std)

    def forward(self, image: Tensor) -> Tensor:
        return (image.to(torch.float32) - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean:g}, std={self.std:g}"


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3) -> list[nn.Module]:
    """Convolution (size kept), batch norm, ReLU. The bias is batch norm's."""
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def improved(classes: int = 10, spatial_dropout: float = 0.25, head_dropout: float = 0.5) -> nn.Sequential:
    """The improved CNN: five 3×3 convolutions in three blocks, then a dense head. 437K parameters, 22M MACs."""
    return nn.Sequential(
        Normalise(),
        *conv_bn_relu(1, 32),
        *conv_bn_relu(32, 32),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
        *conv_bn_relu(32, 64),
        *conv_bn_relu(64, 64),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
        *conv_bn_relu(64, 128),
        nn.MaxPool2d(2),
        nn.Dropout2d(spatial_dropout),
        nn.Flatten(),
        nn.Linear(1152, 256, bias=False),
        nn.BatchNorm1d(256),
        nn.ReLU(inplace=True),
        nn.Dropout(head_dropout),
        nn.Linear(256, classes),
    )


MODELS: dict[str, Callable[..., nn.Module]] = {"improved": improved}


def build_model(name: str, **options: object) -> nn.Module:
    """Return a freshly initialised network by name.

    Args:
        name: a key of ``MODELS``.
        options: the constructor's keyword arguments, as a checkpoint or recipe stores them.

    Raises:
        ConfigError: the name is not known, or an option is not one of that model's.
    """
    if name not in MODELS:
        raise ConfigError(f"unknown model '{name}'; known models: {', '.join(sorted(MODELS))}")
    try:
        return MODELS[name](**options)
    except TypeError as error:
        raise ConfigError(f"model '{name}': {error}") from error


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
