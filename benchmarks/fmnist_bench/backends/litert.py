"""LiteRT (formerly TensorFlow Lite), converted by litert-torch; it uses its XNNPACK kernels by default."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT"]


@dataclass(frozen=True)
class _LiteRT:
    packages: tuple[str, ...] = ("ai-edge-litert",)

    def convert(self, files: Files, folder: Path) -> Path:
        import litert_torch

        from fmnist_bench.backends.pytorch import example, float_network

        target = folder / "model.tflite"
        litert_torch.convert(float_network(files.checkpoint), (example(),)).export(str(target))
        return target

    def load(self, model: Path, threads: int) -> Call:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(model), num_threads=threads)
        interpreter.allocate_tensors()
        image, logits = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def one(pixels: np.ndarray) -> np.ndarray:
            interpreter.set_tensor(image, pixels.astype(np.float32))
            interpreter.invoke()
            found: np.ndarray = interpreter.get_tensor(logits)
            return found

        return lambda pixels: np.concatenate([one(pixels[i : i + 1]) for i in range(len(pixels))])


FLOAT = _LiteRT()
