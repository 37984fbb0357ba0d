"""The runtime of this project, on onnxruntime."""

from dataclasses import dataclass
from pathlib import Path

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT", "INT8"]


@dataclass(frozen=True)
class _OnnxRuntime:
    which: str
    packages: tuple[str, ...] = ("onnxruntime", "numpy")

    def convert(self, files: Files, folder: Path) -> Path:
        return Path(getattr(files, self.which))

    def load(self, model: Path, threads: int) -> Call:
        from fmnist_runtime.classifier import Classifier

        return Classifier.load(model, threads=threads).logits


INT8, FLOAT = _OnnxRuntime("int8"), _OnnxRuntime("float32")
