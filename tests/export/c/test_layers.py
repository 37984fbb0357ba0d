"""Every layer that can be read computes what onnxruntime computes, to the bit, alone in small graphs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fmnist_export.c.comparison import compile_harness, run_harness, write_files
from fmnist_export.c.emit import Source, generate
from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.network.layers import Network
from fmnist_runtime.network.reader import read_network
from fmnist_runtime.selftest import Golden, pack_golden

PageLogits = Callable[[Network, np.ndarray, str], np.ndarray]
IMAGES = np.random.default_rng(1).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def logits_of(network: Network, images: np.ndarray, folder: Path, *flags: str) -> np.ndarray:
    """Compiles a network with the given flags and returns its logits, as bits."""
    golden = Golden(images[:1, None], np.zeros((1, 10), np.float32), 0.0)
    document = {"selftest": pack_golden(golden)}
    metadata = Metadata(tuple(map(str, range(10))), "int8", 1.0, None, document)
    write_files(generate(network, Source("net", "net.onnx", b"", metadata)), folder)
    program = compile_harness(folder, "fmnist_net", ("gcc", "-std=c99", "-O2", *flags))
    return run_harness((str(program),), images, 10).view(np.uint32)


class Graph:
    """Builds a QDQ graph, node by node, with random weights."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.name = self._dequantize("image", 1 / 90, 73)
        self.scale = np.float32(1 / 90)

    def add(self, operator: str, *others: str, scale: float | None = None, zero: int = 0, **attributes: object) -> str:
        """Appends an operator that reads the last value, then its quantization; returns the new value."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.name, *others], [output], **attributes))
        if scale is not None:
            self.scale = np.float32(scale)
            self.name = self._dequantize(self._quantize(output, scale, zero), scale, zero)
        else:
            self.name = output
        return self.name

    def weights(self, *shape: int, bits: int = 64) -> tuple[str, str]:
        """Adds random weights and biases of a layer that reads the last value; returns both names."""
        values = self.random.integers(-bits, bits, shape, endpoint=True).astype(np.int8)
        scales = self.random.uniform(0.001, 0.01, shape[0]).astype(np.float32)
        bias = self.random.integers(-2000, 2000, shape[0]).astype(np.int32)
        return (
            self._constant_dequantized(values, scales, np.zeros(shape[0], np.int8)),
            self._constant_dequantized(bias, self.scale * scales, np.zeros(shape[0], np.int32)),
        )

    def model(self) -> ModelProto:
        """Returns the graph, its last value as logits, with temperature and softmax behind."""
        self.nodes[-1].output[0] = "logits"
        temperature = self._constant(np.array(1, np.float32))
        self.nodes += [
            helper.make_node("Div", ["logits", temperature], ["scaled"]),
            helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=1),
        ]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 28, 28])
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 10]) for n in ("logits", "probabilities")]
        graph = helper.make_graph(self.nodes, "fmnist", [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)

    def head(self, features: int) -> ModelProto:
        """Appends a flattening and the last layer, and returns the model."""
        self.add("Reshape", self._constant(np.array([-1, features])))
        self.name = self._dequantize(self._quantize(self.name, self.scale, self.zero), self.scale, self.zero)
        self.add("Gemm", *self.weights(10, features), transB=1)
        return self.model()

    @property
    def zero(self) -> int:
        """Zero point of the last value."""
        node = next(n for n in reversed(self.nodes) if n.op_type == "DequantizeLinear")
        return int(numpy_helper.to_array(next(c for c in self.constants if c.name == node.input[2])))

    def _quantize(self, name: str, scale: float, zero: int) -> str:
        self.nodes.append(helper.make_node("QuantizeLinear", [name, *self._pair(scale, zero)], [f"{name}_q"]))
        return f"{name}_q"

    def _dequantize(self, name: str, scale: float, zero: int) -> str:
        self.nodes.append(helper.make_node("DequantizeLinear", [name, *self._pair(scale, zero)], [f"{name}_dq"]))
        return f"{name}_dq"

    def _pair(self, scale: float, zero: int) -> tuple[str, str]:
        return self._constant(np.array(scale, np.float32)), self._constant(np.array(zero, np.uint8))

    def _constant(self, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def _constant_dequantized(self, values: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> str:
        names = [self._constant(v) for v in (values, scale, zero)]
        self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{names[0]}_dq"], axis=0))
        return f"{names[0]}_dq"


def convolutions(kernel: int, stride: int, pad: int, channels: int, groups: int = 1) -> ModelProto:
    graph = Graph()
    graph.add("Conv", *graph.weights(8, 1, 3, 3), scale=0.05, strides=[2, 2], pads=[1, 1, 1, 1])
    about = {"strides": [stride, stride], "pads": [pad] * 4, "group": groups}
    graph.add("Conv", *graph.weights(channels, 8 // groups, kernel, kernel), scale=0.03, zero=120, **about)
    side = (14 + 2 * pad - kernel) // stride + 1
    return graph.head(channels * side * side)


def pooled() -> ModelProto:
    graph = Graph()
    graph.add("Conv", *graph.weights(17, 1, 3, 3), scale=0.05, pads=[1, 1, 1, 1])
    graph.add("MaxPool", scale=0.05, kernel_shape=[3, 3], strides=[2, 2])
    graph.add("AveragePool", scale=0.04, zero=3, kernel_shape=[13, 13], count_include_pad=1)
    return graph.head(17)


def excited() -> ModelProto:
    graph = Graph()
    features = graph.add("Conv", *graph.weights(16, 1, 3, 3), scale=0.05, zero=100, pads=[1, 1, 1, 1], strides=[4, 4])
    graph.add("GlobalAveragePool", scale=0.05, zero=100)
    graph.add("Conv", *graph.weights(16, 16, 1, 1), scale=0.02, zero=128)
    gate = graph.add("Sigmoid", scale=1 / 255)
    graph.name = features
    graph.add("Mul", gate, scale=0.03, zero=90)
    graph.add("Add", features, scale=0.06, zero=80)
    return graph.head(16 * 49)


def halves() -> ModelProto:
    """Sums that lie on exact halves, which the fixed-point formula lists as exceptions."""
    graph = Graph()
    features = graph.add("Conv", *graph.weights(4, 1, 3, 3), scale=0.05, zero=100, pads=[1, 1, 1, 1], strides=[4, 4])
    graph.add("Add", features, scale=0.2, zero=90)
    return graph.head(4 * 49)


def wide() -> ModelProto:
    """Weights of eight bits, which must not be summed in pairs of 16 bits."""
    graph = Graph()
    graph.add("Conv", *graph.weights(32, 1, 5, 5, bits=127), scale=0.1, pads=[2, 2, 2, 2], strides=[2, 2])
    graph.add("Conv", *graph.weights(24, 32, 3, 3, bits=127), scale=0.4, strides=[2, 2])
    return graph.head(24 * 36)


CASES = {
    "3x3": convolutions(3, 1, 1, 16),
    "5x5, stride 2, odd channels": convolutions(5, 2, 2, 11),
    "1x1": convolutions(1, 1, 0, 33),
    "no padding": convolutions(3, 1, 0, 6),
    "groups": convolutions(3, 1, 1, 8, groups=4),
    "pools": pooled(),
    "squeeze and excitation": excited(),
    "sums on halves": halves(),
    "8-bit weights": wide(),
}


def exact_logits(model: ModelProto) -> np.ndarray:
    """Returns onnxruntime's logits as bits, uint32 ``[N, 10]``; without VNNI, its fast kernels saturate with 8-bit weights."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"image": IMAGES[:, None]})[0]
    return logits.view(np.uint32)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("flags", [("-DFMNIST_PLAIN_C",), ("-O3", "-march=native")], ids=["plain", "native"])
@pytest.mark.parametrize("case", CASES)
def test_equals_onnxruntime(case: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    expected = exact_logits(CASES[case])
    assert len(np.unique(expected)) > 100  # the network has not saturated
    np.testing.assert_array_equal(
        logits_of(read_network(CASES[case].SerializeToString()), IMAGES, tmp_path, *flags), expected
    )


@pytest.mark.parametrize("kernels", ["kernels.simd.wasm", "kernels.wasm"])
@pytest.mark.parametrize("case", CASES)
def test_the_page_equals_onnxruntime(case: str, kernels: str, page_logits: PageLogits) -> None:
    expected = exact_logits(CASES[case])
    found = page_logits(read_network(CASES[case].SerializeToString()), IMAGES, kernels)
    np.testing.assert_array_equal(found.view(np.uint32), expected)


def float_layer() -> ModelProto:
    graph = Graph()
    graph.add("Conv", *graph.weights(4, 1, 3, 3))
    graph.add("Tanh", scale=0.05)
    return graph.head(4 * 26 * 26)


def dilated() -> ModelProto:
    graph = Graph()
    graph.add("Conv", *graph.weights(4, 1, 3, 3), scale=0.05, dilations=[2, 2])
    return graph.head(4 * 24 * 24)


def partial_mean() -> ModelProto:
    graph = Graph()
    graph.add("AveragePool", scale=1 / 90, zero=73, kernel_shape=[2, 2], strides=[2, 2])
    return graph.head(196)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (float_layer(), "cannot run Tanh .* no integer form of this operator"),
        (dilated(), "cannot run Conv .* dilations"),
        (partial_mean(), "cannot run AveragePool .* mean over all positions"),
    ],
)
def test_names_what_cannot_be_written(model: ModelProto, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        read_network(model.SerializeToString())
    assert "\n" not in str(error.value)
