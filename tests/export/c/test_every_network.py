"""Every registered network, as each published recipe shapes it, runs as C and in the page with the bits of onnxruntime."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from platform import machine

import numpy as np
import onnxruntime
import pytest
import torch

from fmnist_export.c.comparison import compile_harness, run_harness, write_files
from fmnist_export.c.emit import Source, generate
from fmnist_export.convert import to_onnx
from fmnist_export.quantization.integer_form import to_integer_form
from fmnist_export.quantization.quantize import quantize
from fmnist_export.settings import QuantizationSettings
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.network.layers import Network
from fmnist_runtime.network.reader import read_network
from fmnist_runtime.selftest import Golden, pack_golden
from fmnist_train.data.sources import find_dataset
from fmnist_train.models import MODELS, build_model
from fmnist_train.recipes import RECIPES

SHAPES = {f"{recipe.model} {recipe.model_options or ''}": name for name, recipe in RECIPES.items()}


def test_recipes_cover_the_registry() -> None:
    assert {RECIPES[name].model for name in SHAPES.values()} == set(MODELS)


@cache
def quantized(recipe: str) -> tuple[Network, np.ndarray, np.ndarray]:
    """Returns an untrained network of the recipe in int8, images, and onnxruntime's logits of them."""
    images = find_dataset("sample").load("train").images[:64]
    torch.manual_seed(0)
    network = build_model(RECIPES[recipe].model, **RECIPES[recipe].model_options)
    network(torch.from_numpy(images[:, None]))  # gives batch norms their statistics
    network.eval()
    model = quantize(to_onnx(to_integer_form(network) or network), images, QuantizationSettings(refine=False))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.concatenate([session.run(["logits"], {"image": image[None, None]})[0] for image in images])
    return read_network(model.SerializeToString()), images, expected


def write_network(recipe: str, folder: Path) -> None:
    network, images, expected = quantized(recipe)
    golden = Golden(images[:1, None], expected[:1], 0.0)
    metadata = Metadata(tuple("0123456789"), "int8", 1.0, None, {"selftest": pack_golden(golden)})
    write_files(generate(network, Source("net", "net.onnx", b"", metadata)), folder)


@pytest.mark.parametrize("recipe", SHAPES.values())
def test_same_bits(recipe: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    _, images, expected = quantized(recipe)
    write_network(recipe, tmp_path)
    program = compile_harness(tmp_path, "fmnist_net", (need("gcc"), "-std=c99", "-O3", "-march=native"))
    found = run_harness((str(program),), images, 10)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


VECTORS = [[], ["-mavx2"], ["-mavx512vnni", "-mavx512bw", "-mavx512vl"]] if machine() in ("x86_64", "AMD64") else [[]]
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@pytest.mark.parametrize("recipe", SHAPES.values())
def test_no_warning_for_any_processor(recipe: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    write_network(recipe, tmp_path)
    for flags in VECTORS:
        command = [
            need("gcc"),
            "-std=c99",
            "-O2",
            *WARNINGS,
            *flags,
            "-fsyntax-only",
            tmp_path / "src" / "fmnist_net.c",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), flags


@pytest.mark.parametrize("recipe", SHAPES.values())
def test_same_bits_in_the_page(recipe: str, page_logits: Callable[[Network, np.ndarray, str], np.ndarray]) -> None:
    network, images, expected = quantized(recipe)
    found = page_logits(network, images, "kernels.simd.wasm")
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
