"""The page's kernels: the same logits as onnxruntime to the bit, and the committed WebAssembly from the committed C."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fmnist_runtime import Classifier
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.webpage import write_page
from fmnist_train.data.sources import find_dataset

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "runtime" / "kernels"
SCRIPT = Path(__file__).with_name("run_network.mjs")
COMPARED = ROOT / "artifacts" / "comparison"
MODELS = {
    **embedded_models(),
    "best": ROOT / "artifacts" / "best" / "model.int8.onnx",
    **{path.parent.name: path for path in sorted(COMPARED.glob("*/model.int8.onnx"))},
}
"""All int8 models of this repository; together they have every kind of layer."""


def node_logits(page: Path, kernels: str, images: np.ndarray, folder: Path) -> np.ndarray:
    """Returns the logits that the page's scripts compute in Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    folder.mkdir(exist_ok=True)
    (page / "package.json").write_text('{"type": "module"}')  # for Node.js, scripts are modules only by this
    (folder / "images").write_bytes(images.tobytes())
    subprocess.run([node, SCRIPT, page, kernels, folder / "images", folder / "logits"], check=True, timeout=600)
    return np.fromfile(folder / "logits", "<f4").reshape(len(images), -1)


def compare(model: Path, kernels: str, images: np.ndarray, folder: Path) -> None:
    write_page(model.read_bytes(), folder / "page")
    found = node_logits(folder / "page", kernels, images, folder / "run")
    expected = Classifier.load(model).logits(images[:, None])
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.full_data
@pytest.mark.parametrize("name", embedded_models())
def test_thousands_of_images_give_the_bits_of_onnxruntime(name: str, tmp_path: Path) -> None:
    compare(MODELS[name], "kernels.simd.wasm", find_dataset().load("test").images[:3000], tmp_path)


@pytest.mark.parametrize("kernels", ["kernels.simd.wasm", "kernels.wasm"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_bits_of_onnxruntime(name: str, kernels: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    images = np.concatenate([find_dataset("sample").load("test").images[:60], noise])
    compare(MODELS[name], kernels, images, tmp_path)


def test_the_browser_gives_the_bits_of_onnxruntime(page) -> None:
    images = find_dataset("sample").load("test").images[:200]
    found = page.evaluate(
        """async (images) => {
        const { Classifier } = await import("./classifier.js");
        const classifier = await Classifier.load();
        return classifier.run(Uint8Array.from(images)).map(({ logits, probabilities }) => [[...logits], [...probabilities]]);
    }""",
        images.ravel().tolist(),
    )
    logits, probabilities = np.moveaxis(np.array(found, np.float32), 1, 0)
    classifier = Classifier.load()
    np.testing.assert_array_equal(logits.view(np.uint32), classifier.logits(images[:, None]).view(np.uint32))
    expected = classifier._session.run(["probabilities"], {"image": images[:, None]})[0]
    np.testing.assert_allclose(probabilities, expected, rtol=2e-6, atol=1e-9)


def test_the_committed_kernels_are_what_the_compiler_writes(tmp_path: Path) -> None:
    if not shutil.which("clang") or not shutil.which("wasm-ld"):
        pytest.skip("clang or lld is not installed")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    if version != (KERNELS / "compiler.txt").read_text().strip():
        pytest.skip(f"this is {version}, another compiler than that of the committed kernels")
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        subprocess.run(["sh", KERNELS / "build.sh", folder], check=True)
        for name in ("kernels.wasm", "kernels.simd.wasm"):
            assert (folder / name).read_bytes() == (ROOT / "runtime" / "web" / name).read_bytes()
