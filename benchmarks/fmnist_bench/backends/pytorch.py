"""PyTorch: eager (the reference), compiled, and as frozen TorchScript."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from fmnist_bench.backends.registry import Call, Files
from fmnist_train.checkpoint import load_checkpoint

__all__ = ["COMPILED", "EAGER", "SCRIPTED", "example", "float_network"]


def float_network(checkpoint: str | Path) -> torch.nn.Module:
    """Loads the network in evaluation mode and PyTorch's default memory layout, which converters expect."""
    return load_checkpoint(checkpoint).model.to(memory_format=torch.contiguous_format).eval()


def example(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns one image to trace with, zeros of shape ``[1, 1, 28, 28]``."""
    return torch.zeros(1, 1, 28, 28, dtype=dtype)


def _script(network: torch.nn.Module) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, and still in wide use
        return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(network)))


@dataclass(frozen=True)
class _PyTorch:
    prepare: Callable[[torch.nn.Module], torch.nn.Module]
    packages: tuple[str, ...] = ("torch", "numpy")

    def convert(self, files: Files, folder: Path) -> Path:
        checkpoint = Path(files.checkpoint)
        return checkpoint / "best.safetensors" if checkpoint.is_dir() else checkpoint

    def load(self, model: Path, threads: int) -> Call:
        torch.set_num_threads(threads)
        network = self.prepare(load_checkpoint(model).model)

        def call(pixels: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                logits: np.ndarray = network(torch.from_numpy(pixels)).numpy()
            return logits

        return call


EAGER = _PyTorch(lambda network: network)
COMPILED = _PyTorch(lambda network: cast(torch.nn.Module, torch.compile(network)))
SCRIPTED = _PyTorch(_script)
