"""Registry of contestants: each is one way to run the same trained weights.

A contestant is imported in its own process, so this module imports no runtime. ``fmnist-bench --contestant
NAME=MODULE:OBJECT`` adds one of the user's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from fmnist_runtime.errors import ConfigError

__all__ = ["CONTESTANTS", "REFERENCE", "Call", "Contestant", "Files", "resolve"]

Call = Callable[[np.ndarray], np.ndarray]
"""Maps pixels, uint8 ``[N, 1, 28, 28]``, to logits, float32 ``[N, classes]``."""


@dataclass(frozen=True)
class Files:
    """Paths of the same weights in three forms; a contestant that needs a missing one is missing, too."""

    int8: str
    """Int8 ONNX file."""
    float_model: str | None
    """Float ONNX file, if known; contestants read ``float32``."""
    weights: str | None
    """PyTorch checkpoint, a file or its folder, if known; contestants read ``checkpoint``."""

    @property
    def float32(self) -> str:
        """Float ONNX file.

        Raises:
            ConfigError: It is not known.
        """
        if self.float_model is None:
            raise ConfigError("no float model of the same weights was found; name it with --float")
        return self.float_model

    @property
    def checkpoint(self) -> str:
        """PyTorch checkpoint: a file or its folder.

        Raises:
            ConfigError: It is not known.
        """
        if self.weights is None:
            raise ConfigError("no checkpoint of the same weights was found; name it with --checkpoint")
        return self.weights


class Contestant(Protocol):
    """One way to run the weights."""

    packages: tuple[str, ...]
    """Distributions that a device installs, without their requirements."""

    def convert(self, files: Files, folder: Path) -> Path:
        """Returns the path that ``load`` takes: one of ``files``, or a new file in ``folder``; runs once, not timed."""

    def load(self, model: Path, threads: int) -> Call:
        """Loads the model for this number of threads and returns the function that is timed."""


REFERENCE = "PyTorch eager"
"""Name of the contestant whose answers count as correct."""

CONTESTANTS = {
    "onnxruntime int8": "fmnist_bench.backends.onnxruntime:INT8",
    "onnxruntime float": "fmnist_bench.backends.onnxruntime:FLOAT",
    "PyTorch eager": "fmnist_bench.backends.pytorch:EAGER",
    "torch.compile": "fmnist_bench.backends.pytorch:COMPILED",
    "TorchScript frozen": "fmnist_bench.backends.pytorch:SCRIPTED",
    "OpenVINO int8": "fmnist_bench.backends.openvino:INT8",
    "OpenVINO float": "fmnist_bench.backends.openvino:FLOAT",
    "ncnn float": "fmnist_bench.backends.ncnn:FLOAT",
    "MNN float": "fmnist_bench.backends.mnn:FLOAT",
    "LiteRT float": "fmnist_bench.backends.litert:FLOAT",
    "ExecuTorch float": "fmnist_bench.backends.executorch:FLOAT",
}
"""Entry point, ``module:object``, by displayed name."""


def resolve(entry_point: str) -> Contestant:
    """Imports the contestant at ``module:object``.

    Raises:
        ImportError, AttributeError: The module or the object does not exist.
    """
    module, _, name = entry_point.partition(":")
    contestant: Contestant = getattr(import_module(module), name)
    return contestant
