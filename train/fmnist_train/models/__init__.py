"""The networks, from raw pixels ``[N, 1, 28, 28]`` (uint8, or float in 0..255) to logits, float32 ``[N, classes]``.

Normalization and resizing are layers of the network, so they are the same in a checkpoint and in an exported file.
"""

import inspect
from collections.abc import Callable

import torch
from torch import nn

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.files import nearest
from fmnist_train.models import networks
from fmnist_train.models.layers import Normalize

__all__ = ["MODELS", "Normalize", "build_model", "check_options", "count_macs", "count_parameters"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "improved": networks.improved,
    "batchnorm": networks.batchnorm,
    "best": networks.best,
    "fashion": networks.fashion,
    "feedforward": networks.feedforward,
    "hybrid": networks.hybrid,
    "residual": networks.residual,
    "resnet": networks.resnet,
    "simple": networks.simple,
    "custom": networks.custom,
}
"""Functions that build each network, by name."""


def build_model(name: str, **options: object) -> nn.Module:
    """Returns a network with random weights by name.

    Args:
        name: A key of ``MODELS``.
        options: The constructor's keyword arguments, as a checkpoint or recipe stores them.

    Raises:
        ConfigError: The name is unknown, or the network does not have one of the options.
    """
    if name not in MODELS:
        raise ConfigError(f"unknown model '{name}'{nearest(name, MODELS)}; known models: {', '.join(sorted(MODELS))}")
    known = inspect.signature(MODELS[name]).parameters
    if unknown := next((option for option in options if option not in known), None):
        raise ConfigError(
            f"the model '{name}' has no option '{unknown}'{nearest(unknown, known)}; its options: {', '.join(known)}"
        )
    try:
        return MODELS[name](**options)
    except TypeError as error:
        raise ConfigError(f"model '{name}': {error}") from error


def check_options(name: str, **options: object) -> None:
    """Checks the arguments of ``build_model`` without the memory and time of making weights.

    Raises:
        ConfigError: As ``build_model``.
    """
    with torch.device("meta"):
        build_model(name, **options)


def count_parameters(model: nn.Module) -> int:
    """Counts the trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_macs(model: nn.Module, shape: tuple[int, ...] = (1, IMAGE_SIZE, IMAGE_SIZE)) -> int:
    """Counts the multiplications of the convolutions and dense layers for one image; the model's mode is restored.

    Args:
        model: Network with at least one parameter.
        shape: Shape of one input, without the batch axis.
    """
    total = 0

    def add(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Linear)  # the hooks below are on no other layer
        total += output[0].numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = model.training
    device = next(model.parameters()).device
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *shape, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
