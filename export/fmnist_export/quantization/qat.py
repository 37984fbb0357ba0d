"""Quantisation-aware fine-tuning: the network learns weights that keep its answers once they are integers.

Every weight and every layer's input is rounded in the forward pass, and the rounding is taken for the identity in the
backward pass (straight-through estimator, Bengio et al. 2013, arXiv:1308.3432); each output channel learns the step of its
weights (Esser et al. 2020, arXiv:1902.08153). The aim is the float network's own logits, so no label is needed. All of it
is functions on the network's own layers: what comes out is an ordinary network that exports as any other.
"""

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_export.convert import fold_batch_norm
from fmnist_train.evaluation.inference import predict_logits

__all__ = ["fake_activation", "fake_weight", "tune"]

EPOCHS = 8
_BATCH = 64
_RATE = 0.01
"""Largest step of Adam, as a share of a tensor's median magnitude; of a weight step's logarithm as it is."""


def tune(network: nn.Module, equalised: ModelProto, images: np.ndarray, limit: int, epochs: int = EPOCHS) -> nn.Module:
    """Fine-tune a copy of a network for integers.

    Args:
        network: raw pixels to logits; it stays what it is.
        equalised: its float ONNX model, channels equalised: the weights to start from, which compute the same.
        images: uint8 ``[N, 28, 28]`` to tune on; the same images and versions give the same weights.
        limit: largest magnitude of an integer weight, 64 for 7 bits.
        epochs: passes over the images.

    Returns:
        The tuned copy in evaluation mode, batch norms folded, no weight beyond ``limit`` of its channel's steps.
    """
    student, wanted = fold_batch_norm(network), torch.from_numpy(predict_logits(network, images))
    _take_weights(student, equalised)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1)
    layers = {name: m for name, m in student.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    steps = _first_steps(student, layers, pixels[:256], limit)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        _fit(student, layers, steps, (pixels, wanted), limit, epochs)
    with torch.no_grad():
        for name, layer in layers.items():
            bound = limit * _spread(steps[name].exp(), layer.weight)
            layer.weight.copy_(torch.minimum(torch.maximum(layer.weight, -bound), bound))
    return student.requires_grad_(False).eval()


def fake_weight(weight: Tensor, step: Tensor, limit: int) -> Tensor:
    """Weights as integers of ``step`` give them, ``[outputs, ...]`` and ``[outputs]``; gradients reach both."""
    scaled = weight / _spread(step, weight)
    return _round(scaled.clamp(-limit, limit)) * _spread(step, weight)


def fake_activation(value: Tensor) -> Tensor:
    """Activations on the 256 steps between their smallest (or 0) and largest value."""
    low, high = value.detach().amin().clamp(max=0), value.detach().amax().clamp(min=0)
    step = ((high - low) / 255).clamp(min=torch.finfo(value.dtype).tiny)
    return _round(value / step) * step


def _round(value: Tensor) -> Tensor:
    return value + (value.round() - value).detach()


def _spread(step: Tensor, weight: Tensor) -> Tensor:
    return step.view(-1, *[1] * (weight.dim() - 1))


def _take_weights(student: nn.Module, model: ModelProto) -> None:
    """Copy what the exporter named as the network does; whatever it renamed or transposed stays as it was."""
    values = {
        i.name.removeprefix("model."): torch.from_numpy(numpy_helper.to_array(i).copy())
        for i in model.graph.initializer
    }
    own = student.state_dict()
    student.load_state_dict({n: values[n] if n in values and values[n].shape == v.shape else v for n, v in own.items()})


def _first_steps(student: nn.Module, layers: dict[str, nn.Module], pixels: Tensor, limit: int) -> dict[str, Tensor]:
    """Logarithms of the steps that lose least, each weight's error weighed by the power of the input it multiplies."""
    powers = _input_powers(student, layers, pixels)
    steps = {}
    for name, layer in layers.items():
        weight, power = layer.weight.detach(), powers[name]
        if isinstance(layer, nn.Conv2d):  # of a grouped convolution each output sees its own group's inputs
            power = power.view(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, 0)[:, :, None, None]
        largest = weight.abs().flatten(1).amax(1).clamp(min=1e-12)
        choices = torch.stack([largest / limit * 2.0 ** (-k / 4) for k in range(80)])
        losses = [((fake_weight(weight, c, limit) - weight) ** 2 * power).flatten(1).sum(1) for c in choices]
        best = torch.stack(losses).argmin(0)
        steps[name] = choices.gather(0, best[None])[0].log().requires_grad_()
    return steps


def _input_powers(student: nn.Module, layers: dict[str, nn.Module], pixels: Tensor) -> dict[str, Tensor]:
    """The mean square of each layer's input, by channel or feature."""
    powers: dict[str, Tensor] = {}

    def note(name: str, value: Tensor) -> None:
        kept = 1 if value.dim() == 4 else value.dim() - 1
        powers[name] = (value**2).mean([d for d in range(value.dim()) if d != kept])

    hooks = [m.register_forward_pre_hook(lambda _, given, n=name: note(n, given[0])) for name, m in layers.items()]
    with torch.no_grad():
        student(pixels)
    for hook in hooks:
        hook.remove()
    return powers


def _fit(
    student: nn.Module,
    layers: dict[str, nn.Module],
    steps: dict[str, Tensor],
    data: tuple[Tensor, Tensor],
    limit: int,
    epochs: int,
) -> None:
    pixels, wanted = data
    groups = [{"params": list(steps.values()), "lr": _RATE}]
    for layer in layers.values():
        groups += [
            {"params": [p], "lr": _RATE * float(p.detach().abs().median().clamp(min=1e-8))} for p in layer.parameters()
        ]
    optimiser = torch.optim.Adam(groups)
    batches = max(1, len(pixels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [g["lr"] for g in groups], total_steps=epochs * batches)
    # The first layer's input is the pixels, which are integers already.
    hooks = [m.register_forward_pre_hook(lambda _, given: fake_activation(given[0])) for m in list(layers.values())[1:]]
    for _ in range(epochs):
        for chosen in torch.randperm(len(pixels))[: batches * _BATCH].chunk(batches):
            weights = {f"{n}.weight": fake_weight(m.weight, steps[n].exp(), limit) for n, m in layers.items()}
            logits = torch.func.functional_call(student, weights, (pixels[chosen],))
            loss = F.mse_loss(logits, wanted[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    for hook in hooks:
        hook.remove()
