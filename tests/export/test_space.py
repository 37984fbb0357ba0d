"""Temporary files without space: one error that names their folder, and not one of a library or of a failed gate."""

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from torch import nn

from fmnist_export.c.comparison import compile_harness
from fmnist_export.convert import to_onnx
from fmnist_export.evaluation import Evaluator
from fmnist_export.inspection import executed_nodes
from fmnist_export.quantization.quantize import quantize
from fmnist_export.settings import QuantizationSettings
from fmnist_export.variants import Variant, to_ort
from fmnist_runtime.errors import GateError
from fmnist_train.data.sources import Split
from fmnist_train.models import build_model

IMAGES = np.zeros((64, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build_model("custom", channels=(8, 8), hidden=(64,)).eval()


@pytest.fixture(scope="module")
def model(network: nn.Module) -> ModelProto:
    return to_onnx(network)


def evaluate(network: nn.Module, model: ModelProto) -> None:
    split = Split(IMAGES, np.arange(64) % 10)
    Evaluator(network, split, list("abcdefghij"), max_latency_ratio=0).evaluate({"float32": Variant(model)})


@pytest.mark.parametrize(
    "write",
    [
        evaluate,
        lambda network, model: quantize(model, IMAGES, QuantizationSettings()),
        lambda network, model: executed_nodes(model.SerializeToString()),
        lambda network, model: to_ort(model.SerializeToString()),
    ],
    ids=["evaluation", "quantization", "inspection", "ORT format"],
)
def test_no_space_for_temporary_files_is_named(
    write: Callable[[nn.Module, ModelProto], object],
    network: nn.Module,
    model: ModelProto,
    small_files: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(OSError, match="File too large") as caught:
        write(network, model)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, tempfile.gettempdir())
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def compiler(tmp_path: Path) -> tuple[str, str]:
    """A compiler that prints where its temporary files are, and fails."""
    script = tmp_path / "compiler"
    script.write_text('echo "no space in $TMPDIR" >&2; exit 1\n')
    return "sh", str(script)


def test_a_compiler_without_space_does_not_refuse_the_code(
    compiler: tuple[str, str], tmp_path: Path, small_files: None
) -> None:
    with pytest.raises(OSError, match="File too large") as caught:
        compile_harness(tmp_path, "fmnist_net", compiler)
    assert caught.value.filename == tempfile.gettempdir()


def test_the_compilers_files_are_in_the_folder_of_the_others(compiler: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(GateError, match=f"does not compile with sh: no space in {tmp_path}$"):
        compile_harness(tmp_path, "fmnist_net", compiler)
