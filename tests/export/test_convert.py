"""The float graph computes what PyTorch does, and holds no trace of its build."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fmnist_export.convert import OPSET, to_onnx
from fmnist_train.data.sources import find_dataset
from fmnist_train.evaluation.inference import predict_logits


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return find_dataset("sample").load("test").images[:200]


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"image": images[:, None]})


def test_float_logits_are_pytorchs(random_model: nn.Module, images: np.ndarray) -> None:
    exported = to_onnx(random_model, 1.7)
    logits, probabilities = run(exported, images)
    expected = predict_logits(random_model, images)
    assert np.abs(logits - expected).max() < 1e-4
    softened = torch.softmax(torch.from_numpy(expected) / 1.7, 1).numpy()
    assert np.abs(probabilities - softened).max() < 1e-5
    assert [e.version for e in exported.opset_import] == [OPSET]
    assert not any(n.metadata_props or n.doc_string or n.op_type == "BatchNormalization" for n in exported.graph.node)
