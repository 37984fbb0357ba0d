"""Sessions of onnxruntime: signature, providers, threads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.errors import ConfigError
from fmnist_runtime.model_file.session import first_line

Make = Callable[..., Path]


def test_a_fixed_batch_is_refused(make_model: Make, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ModelError, match="image: uint8"):
        Classifier.load(make_model(model))


def test_a_model_that_fails_when_it_is_run(make_model: Make, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.node[1].output[0] = "almost flat"
    model.graph.node.insert(2, helper.make_node("Reshape", ["almost flat", "sizes"], ["flat"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3, 5]), "sizes"))
    del model.graph.value_info[:]
    with pytest.raises(ModelError, match=r"model\.onnx: onnxruntime cannot"):
        Classifier.load(make_model(model))(np.zeros((28, 28), np.uint8))


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_model_that_computes_no_numbers(make_model: Make, tiny_model: Path, weight: float) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((784, 3), weight, np.float32), "weight"))
    reject = {"score": "energy", "threshold": 0}
    with pytest.raises(ModelError, match=r"model\.onnx: the model computes no numbers"):
        Classifier.load(make_model(model, reject=reject))(np.full((28, 28), 9, np.uint8))


def test_a_model_whose_probabilities_are_none(make_model: Make, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    del model.graph.node[-1].attribute[:]
    model.graph.node[-1].op_type = "Identity"
    with pytest.raises(ModelError, match="no probabilities from 0 to 1"):
        Classifier.load(make_model(model))(np.eye(28, dtype=np.uint8) * 255)


def test_another_signature_is_refused(make_model: Make) -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    with pytest.raises(ModelError, match="image: uint8"):
        Classifier.load(make_model(model))


def test_missing_files_names_and_providers(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        Classifier.load(tmp_path / "nothing.onnx")
    with pytest.raises(ConfigError, match="unknown provider"):
        Classifier.load(tiny_model, provider="abacus")
    with pytest.raises(ConfigError, match="not in this onnxruntime"):
        Classifier.load(tiny_model, provider="qnn")
    with pytest.raises(ConfigError, match="threads"):
        Classifier.load(tiny_model, threads=0)


@pytest.mark.parametrize("threads", [0, -1, 257, 3_000_000_000])
def test_numbers_of_threads_that_no_device_has(tiny_model: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match="threads must be 1 to 256"):
        Classifier.load(tiny_model, threads=threads)


@pytest.mark.parametrize(
    ("rename", "dtype", "classes", "message"),
    [
        ("scores", TensorProto.FLOAT, 3, "no float output 'probabilities'"),
        ("probabilities", TensorProto.DOUBLE, 3, "no float output 'probabilities'"),
        ("probabilities", TensorProto.FLOAT, 5, "but 3 labels"),
    ],
)
def test_other_outputs_are_refused(
    make_model: Make, tiny_model: Path, rename: str, dtype: int, classes: int, message: str
) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.node[3].output[0] = "share"
    if classes == 3:
        model.graph.node.append(helper.make_node("Cast", ["share"], [rename], to=dtype))
    else:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((3, classes), np.float32), "more"))
        model.graph.node.append(helper.make_node("MatMul", ["share", "more"], [rename]))
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info(rename, dtype, ["N", classes]))
    with pytest.raises(ModelError, match=message):
        Classifier.load(make_model(model))


def test_an_exception_is_one_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
