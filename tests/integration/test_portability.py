"""The same logits, to the bit, on processors without VNNI: a bounded part of ``benchmarks/portability.py``."""

import importlib.util
import os
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from fmnist_runtime.store import find_model
from fmnist_train.data import find_dataset

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "portability.py"
spec = importlib.util.spec_from_file_location("portability", SCRIPT)
portability = importlib.util.module_from_spec(spec)
spec.loader.exec_module(portability)

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="these emulated processors are x86-64"),
    pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-user-static is not installed"),
]
HERE, HASWELL, _, NEHALEM, _ = portability.PROCESSORS


def logits(processor: "portability.Processor", model: Path) -> bytes:
    found = portability.replay(processor, model, find_dataset("sample").load("test").images[:20, None])
    assert "missing" not in found, found["missing"]
    return found["logits"].tobytes()


def test_the_shipped_model_gives_the_same_bits_without_vnni_and_without_avx() -> None:
    expected = logits(HERE, find_model())
    assert logits(HASWELL, find_model()) == expected
    assert logits(NEHALEM, find_model()) == expected


def test_the_emulation_shows_what_saturates(tmp_path: Path) -> None:
    """Weights of twice the size, 8 bits wide, overflow the 16-bit sums of AVX2; were this not so, the test above were empty."""
    model, path = onnx.load(find_model()), tmp_path / "wide.onnx"
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight_quantized"):
            value = (numpy_helper.to_array(tensor).astype(int) * 2).clip(-127, 127).astype("int8")
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
    assert logits(HASWELL, path) != logits(NEHALEM, path)
