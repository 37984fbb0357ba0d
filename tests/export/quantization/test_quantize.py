"""int8 models read raw pixels, run as integers, and lose little."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from torch import nn

from fmnist_export.convert import to_onnx
from fmnist_export.graph import tensor_values
from fmnist_export.inspection import executed_operators
from fmnist_export.quantization.quantize import quantize
from fmnist_export.quantization.sensitivity import signal_to_noise
from fmnist_export.settings import QuantizationSettings
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits


def test_int8_reads_pixels_and_runs_as_integers(random_model: nn.Module) -> None:
    images = find_dataset("sample").load("test").images[:200]
    reference = to_onnx(random_model)
    quantized = quantize(reference, images, QuantizationSettings())
    first = [n for n in quantized.graph.node if "image" in n.input]
    assert [n.op_type for n in first] == ["DequantizeLinear"]
    values = {i.name: onnx.numpy_helper.to_array(i) for i in quantized.graph.initializer}
    assert values[first[0].input[1]] == np.float32(1 / 90) and values[first[0].input[2]] == 73
    operators = executed_operators(quantized.SerializeToString())
    assert operators["QLinearConv"] == 5 and operators["QGemm"] == 2
    assert not {"Conv", "FusedConv", "Gemm", "QuantizeLinear"} & set(operators)
    weights = [v for k, v in values.items() if k.endswith("weight_quantized")]
    assert len(weights) == 7 and all(np.abs(w.astype(int)).max() <= 64 for w in weights)  # 7 bits
    logits, expected = tensor_values(quantized, ["logits"], images)["logits"], predict_logits(random_model, images)
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.9
    assert set(signal_to_noise(reference, quantized, images[:8])) >= {"logits"}


@pytest.mark.parametrize("groups", [1, 8])
def test_refining_lowers_the_error_and_keeps_seven_bits(
    small_network: Callable[..., nn.Sequential], logit_error: Callable[..., float], groups: int, images: np.ndarray
) -> None:
    model = to_onnx(small_network(groups))
    plain = quantize(model, images, QuantizationSettings(refine=False))
    refined = quantize(model, images, QuantizationSettings())
    unseen = find_dataset("sample").load("test").images[:200]
    assert logit_error(model, refined, unseen) < (0.5 if groups == 1 else 1.0) * logit_error(model, plain, unseen)
    for tensor in refined.graph.initializer:
        if tensor.name.endswith("weight_quantized"):
            assert np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64
