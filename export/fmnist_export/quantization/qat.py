"""Quantization-aware fine-tuning: trains weights that keep the network's outputs once they are integers.

Every weight and every layer's input is rounded in the forward pass. The backward pass treats rounding as the identity
(straight-through estimator, Bengio et al. 2013, arXiv:1308.3432). The weight step of each output channel is trained, too
(Esser et al. 2020, arXiv:1902.08153). The targets are the float network's logits, so no labels are needed. The layers stay the
same, so the result is exported like any other network.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_export.convert import fold_batch_norm
from fmnist_train.evaluation.inference import predict_logits

__all__ = ["EPOCHS", "fake_activation", "fake_weight", "fine_tune"]

EPOCHS = 8
"""Passes over the calibration images."""
_BATCH = 64
"""Images in one step."""
_RATE = 0.01
"""Largest learning rate of Adam: for weights, as a share of a tensor's median magnitude; for log weight steps, absolute."""
_PROBES = 256
"""Number of images on which the initial weight steps are chosen."""

_Layer = nn.Conv2d | nn.Linear


def fine_tune(
    network: nn.Module, equalized: ModelProto, images: np.ndarray, limit: int, epochs: int = EPOCHS
) -> nn.Module:
    """Fine-tunes a copy of a network for integer weights and activations.

    Args:
        network: Network from raw pixels to logits; it stays unchanged.
        equalized: Float ONNX model of the network with equalized channels; its weights are the initial ones.
        images: uint8 ``[N, 28, 28]``; the same images and versions give the same weights.
        limit: Largest magnitude of an integer weight, 64 for 7 bits.
        epochs: Passes over the images.

    Returns:
        The fine-tuned copy in evaluation mode, with folded batch norms. No weight exceeds ``limit`` steps of its channel.
    """
    student, targets = fold_batch_norm(network), torch.from_numpy(predict_logits(network, images))
    _load_weights(student, equalized)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1)
    layers: dict[str, _Layer] = {name: m for name, m in student.named_modules() if isinstance(m, _Layer)}
    steps = _first_steps(student, layers, pixels[:_PROBES], limit)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        _train(student, layers, steps, (pixels, targets), limit=limit, epochs=epochs)
    with torch.no_grad():
        for name, layer in layers.items():
            bound = limit * _per_output(steps[name].exp(), layer.weight)
            layer.weight.copy_(torch.minimum(torch.maximum(layer.weight, -bound), bound))
    return student.requires_grad_(False).eval()


def fake_weight(weight: Tensor, step: Tensor, limit: int) -> Tensor:
    """Rounds weights to multiples of a step, at most ``limit`` of them; gradients reach both arguments.

    Args:
        weight: ``[outputs, ...]``.
        step: ``[outputs]``, over 0.
        limit: Largest magnitude of an integer.
    """
    scaled = weight / _per_output(step, weight)
    return _round(scaled.clamp(-limit, limit)) * _per_output(step, weight)


def fake_activation(value: Tensor) -> Tensor:
    """Rounds activations to 256 levels between their smallest (or 0) and largest value."""
    low, high = value.detach().amin().clamp(max=0), value.detach().amax().clamp(min=0)
    step = ((high - low) / 255).clamp(min=torch.finfo(value.dtype).tiny)
    return _round(value / step) * step


def _round(value: Tensor) -> Tensor:
    return value + (value.round() - value).detach()


def _per_output(step: Tensor, weight: Tensor) -> Tensor:
    """Returns steps ``[outputs]`` with as many axes as the weights, for broadcasting."""
    return step.view(-1, *[1] * (weight.dim() - 1))


def _load_weights(student: nn.Module, model: ModelProto) -> None:
    """Copies weights from an ONNX model into a network; those with another name or shape in the model stay unchanged."""
    values = {
        i.name.removeprefix("model."): torch.from_numpy(numpy_helper.to_array(i).copy())
        for i in model.graph.initializer
    }
    own = student.state_dict()
    student.load_state_dict({n: values[n] if n in values and values[n].shape == v.shape else v for n, v in own.items()})


def _first_steps(student: nn.Module, layers: Mapping[str, _Layer], pixels: Tensor, limit: int) -> dict[str, Tensor]:
    """Returns the logarithms of the weight steps with the least rounding error, by layer, each ``[outputs]``.

    Errors are weighted by the mean square of the weight's input.
    """
    powers = _input_powers(student, layers, pixels)
    steps = {}
    for name, layer in layers.items():
        weight, power = layer.weight.detach(), powers[name]
        if isinstance(layer, nn.Conv2d):  # in a grouped convolution each output reads its own group's inputs
            power = power.view(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, 0)[:, :, None, None]
        largest = weight.abs().flatten(1).amax(1).clamp(min=1e-12)
        choices = torch.stack([largest / limit * 2.0 ** (-k / 4) for k in range(80)])
        losses = [((fake_weight(weight, c, limit) - weight) ** 2 * power).flatten(1).sum(1) for c in choices]
        best = torch.stack(losses).argmin(0)
        steps[name] = choices.gather(0, best[None])[0].log().requires_grad_()
    return steps


def _input_powers(student: nn.Module, layers: Mapping[str, _Layer], pixels: Tensor) -> dict[str, Tensor]:
    """Returns the mean square of each layer's input, by channel or feature."""
    powers: dict[str, Tensor] = {}

    def record(name: str, value: Tensor) -> None:
        kept = 1 if value.dim() == 4 else value.dim() - 1
        powers[name] = (value**2).mean([d for d in range(value.dim()) if d != kept])

    hooks = [m.register_forward_pre_hook(lambda _, given, n=name: record(n, given[0])) for name, m in layers.items()]
    with torch.no_grad():
        student(pixels)
    for hook in hooks:
        hook.remove()
    return powers


@contextmanager
def _rounded_inputs(layers: Mapping[str, _Layer]) -> Iterator[None]:
    """Context manager that rounds the inputs of all layers except the first, whose inputs are pixels, already integers."""
    hooks = [m.register_forward_pre_hook(lambda _, given: fake_activation(given[0])) for m in list(layers.values())[1:]]
    yield
    for hook in hooks:
        hook.remove()


def _optimizer(layers: Mapping[str, _Layer], steps: dict[str, Tensor]) -> torch.optim.Adam:
    """Returns Adam with a learning rate in proportion to the typical magnitude of each parameter."""
    groups: list[dict[str, Any]] = [{"params": list(steps.values()), "lr": _RATE}]
    for layer in layers.values():
        groups += [
            {"params": [p], "lr": _RATE * float(p.detach().abs().median().clamp(min=1e-8))} for p in layer.parameters()
        ]
    return torch.optim.Adam(groups)


def _train(
    student: nn.Module,
    layers: Mapping[str, _Layer],
    steps: dict[str, Tensor],
    data: tuple[Tensor, Tensor],
    *,
    limit: int,
    epochs: int,
) -> None:
    """Trains weights and steps with Adam and one cycle of the learning rate.

    Args:
        student: Network to change.
        layers: Its layers by name.
        steps: Logarithms of the weight steps by layer.
        data: Pixels and target logits.
        limit: Largest magnitude of an integer weight.
        epochs: Passes over the images.
    """
    pixels, targets = data
    batches = max(1, len(pixels) // _BATCH)
    optimizer = _optimizer(layers, steps)
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * batches)
    with _rounded_inputs(layers):
        for _ in range(epochs):
            for chosen in torch.randperm(len(pixels))[: batches * _BATCH].chunk(batches):
                weights = {f"{n}.weight": fake_weight(m.weight, steps[n].exp(), limit) for n, m in layers.items()}
                logits = torch.func.functional_call(student, weights, (pixels[chosen],))
                loss = F.mse_loss(logits, targets[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
                optimizer.step()
                schedule.step()
