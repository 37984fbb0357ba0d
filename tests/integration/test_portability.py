"""The same logits, to the bit, on processors without VNNI: a bounded part of ``benchmarks/studies/portability.py``."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fmnist_export.variants import to_ort
from fmnist_runtime.model_file.store import find_model
from fmnist_train.data.sources import find_dataset

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "studies" / "processors.py"
spec = importlib.util.spec_from_file_location("processors", SCRIPT)
processors = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = processors  # its dataclass looks there
spec.loader.exec_module(processors)

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="these emulated processors are x86-64"),
    pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-user-static is not installed"),
]
HERE, HASWELL, NEHALEM = (processors.PROCESSORS[name] for name in ("here", "avx2", "sse"))


def images() -> np.ndarray:
    return find_dataset("sample").load("test").images[:20, None]


def logits(processor: "processors.Processor", model: Path) -> bytes:
    found = processors.replay(processor, model, images())
    assert "missing" not in found, found["missing"]
    return found["logits"].tobytes()


def test_the_shipped_model_gives_the_same_bits_without_vnni_and_without_avx() -> None:
    expected = logits(HERE, find_model())
    assert logits(HASWELL, find_model()) == expected
    assert logits(NEHALEM, find_model()) == expected


def test_an_ort_file_made_here_gives_the_same_bits_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "model.int8.ort"
    path.write_bytes(to_ort(find_model().read_bytes()))
    expected = logits(HERE, find_model())
    assert logits(HERE, path) == expected
    assert logits(HASWELL, path) == expected


@pytest.mark.parametrize(("name", "saturates"), [("avx512", True), ("avx-vnni", False)])
def test_real_kernels_without_vnni_or_avx512(name: str, saturates: bool, tmp_path: Path) -> None:
    found = processors.replay(processors.PROCESSORS[name], find_model(), images())
    if "missing" in found:
        pytest.skip(found["missing"])
    assert found["logits"].tobytes() == logits(HERE, find_model())
    wide = doubled(tmp_path)
    assert (logits(processors.PROCESSORS[name], wide) != logits(HERE, wide)) == saturates


def doubled(folder: Path) -> Path:
    """The shipped model with weights of twice the size, 8 bits wide: they overflow the 16-bit sums of AVX2."""
    model, path = onnx.load(find_model()), folder / "wide.onnx"
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight_quantized"):
            value = (numpy_helper.to_array(tensor).astype(int) * 2).clip(-127, 127).astype("int8")
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
    return path


def test_the_emulation_shows_what_saturates(tmp_path: Path) -> None:
    """Were this not so, the first test were empty."""
    wide = doubled(tmp_path)
    assert logits(HASWELL, wide) != logits(NEHALEM, wide)
