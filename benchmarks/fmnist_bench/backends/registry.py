"""Who takes part: each contestant is one way to run the same trained weights, named by the module that holds it.

A name is resolved in the contestant's own process, so nothing here imports torch or any other runtime, and what is not
installed is shown as missing. ``fmnist-bench --contestant NAME=MODULE:OBJECT`` adds one of the user's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["CONTESTANTS", "REFERENCE", "Call", "Contestant", "Files", "resolve"]

Call = Callable[[np.ndarray], np.ndarray]
"""Raw pixels uint8 ``[N, 1, 28, 28]`` to logits float32 ``[N, classes]``."""


@dataclass(frozen=True)
class Files:
    """The same weights three times, as paths."""

    int8: str
    float32: str
    checkpoint: str


class Contestant(Protocol):
    """One way to run the weights."""

    packages: tuple[str, ...]
    """Distributions that a device has to install, without those that they require."""

    def convert(self, files: Files, folder: Path) -> Path:
        """Make the model that ``load`` takes, once, not timed; one of ``files``, or something new in ``folder``."""

    def load(self, model: Path, threads: int) -> Call:
        """Get ready to answer, with this many threads."""


REFERENCE = "PyTorch eager"
"""Whose answers are right."""

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
"""Contestants by the name that people read; each ``module:object``."""


def resolve(place: str) -> Contestant:
    """Import the contestant that stands at ``module:object``."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
