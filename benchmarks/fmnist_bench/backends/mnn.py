"""MNN, converted from the float ONNX file by mnnconvert."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT"]


@dataclass(frozen=True)
class _Mnn:
    packages: tuple[str, ...] = ("MNN",)

    def convert(self, files: Files, folder: Path) -> Path:
        import MNN.tools  # noqa: F401  # so that a missing package is reported as such, not as a failed tool

        target = folder / "model.mnn"
        tool = [sys.executable, "-m", "MNN.tools.mnnconvert", "-f", "ONNX", "--modelFile", files.float32]
        subprocess.run([*tool, "--MNNModel", str(target), "--bizCode", "fmnist"], check=True, capture_output=True)
        return target

    def load(self, model: Path, threads: int) -> Call:
        import MNN.numpy as mnp
        from MNN import expr, nn

        runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
        net = nn.load_module_from_file(str(model), ["image"], ["logits"], runtime_manager=runtime)

        def call(pixels: np.ndarray) -> np.ndarray:
            image = expr.const(pixels, list(pixels.shape), expr.NCHW, mnp.uint8)
            return np.array(net.forward([image])[0].read())

        return call


FLOAT = _Mnn()
