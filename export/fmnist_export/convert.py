"""Conversion of a PyTorch network to ONNX: one graph from raw pixels to logits and calibrated probabilities."""

import copy

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.spec import IMAGE_SIZE

__all__ = ["OPSET", "Deployed", "fold_batch_norm", "strip_build_details", "to_onnx"]

OPSET = 18
"""Version of the ONNX operator set. Version 18 has all operators of the networks, and recent device runtimes support it."""


class Deployed(nn.Module):
    """Network with its temperature: pixels to ``(logits, probabilities)``."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = float(temperature)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps pixels to logits and calibrated probabilities, both ``[N, classes]``."""
        logits = self.model(image)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Returns a copy in evaluation mode whose batch norms are folded, in double precision, into the layers before them."""
    return _fold(copy.deepcopy(model).eval().double()).float()


def _fold(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    if not isinstance(module, nn.Sequential):
        return module
    layers: list[nn.Module] = []
    for layer in module:
        before = layers[-1] if layers else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(before, layer)
        elif isinstance(layer, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            layers[-1] = fuse_linear_bn_eval(before, layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def to_onnx(model: nn.Module, temperature: float = 1.0) -> ModelProto:
    """Converts a network in float32.

    Args:
        model: Raw pixels ``[N, 1, 28, 28]`` to logits ``[N, classes]``.
        temperature: Divisor of the logits before the softmax, over 0.

    Returns:
        A checked model with the input ``image``, uint8 ``[N, 1, 28, 28]``, and the outputs ``logits`` and
        ``probabilities``. It has no external data, and no paths or stack traces of the exporting machine.

    Raises:
        ConfigError: The temperature is not over 0, or the exporter wrote another operator set.
    """
    if not temperature > 0:
        raise ConfigError(f"the temperature must be over 0, not {temperature:g}")
    deployed = Deployed(fold_batch_norm(model).to(memory_format=torch.contiguous_format), temperature).eval()
    example = torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    program = torch.onnx.export(
        deployed,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits", "probabilities"],
        dynamic_shapes={"image": {0: torch.export.Dim("N")}},
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")  # happens only without dynamo
    exported = strip_build_details(program.model_proto)
    onnx.checker.check_model(exported, full_check=True)
    found = {entry.domain: entry.version for entry in exported.opset_import}
    if found.get("") != OPSET:
        raise ConfigError(f"the exporter wrote opset {found}, not {OPSET}; use the tested versions in constraints.txt")
    return exported


def strip_build_details(model: ModelProto) -> ModelProto:
    """Removes traces, documentation and inferred shapes from a graph, and numbers its nodes; returns the same object."""
    model.producer_name, model.producer_version, model.doc_string = "fmnist-edge", "", ""
    model.graph.name, model.graph.doc_string = "fmnist", ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    for index, node in enumerate(model.graph.node):
        node.doc_string = ""
        node.name = f"{node.op_type}_{index}"
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return model
