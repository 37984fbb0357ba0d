"""This runtime itself, as contestants."""

from dataclasses import dataclass
from pathlib import Path

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT", "INT8"]


@dataclass(frozen=True)
class _Ours:
    which: str
    packages: tuple[str, ...] = ("onnxruntime", "numpy")

    def convert(self, files: Files, folder: Path) -> Path:
        return Path(getattr(files, self.which))

    def load(self, model: Path, threads: int) -> Call:
        from fmnist_runtime.classifier import Classifier

        return Classifier.load(model, threads=threads).logits


INT8, FLOAT = _Ours("int8"), _Ours("float32")
