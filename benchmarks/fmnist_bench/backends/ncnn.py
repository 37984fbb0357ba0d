"""ncnn, converted by pnnx."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT"]


@dataclass(frozen=True)
class _Ncnn:
    packages: tuple[str, ...] = ("ncnn", "numpy")

    def convert(self, files: Files, folder: Path) -> Path:
        import pnnx
        import torch

        from fmnist_bench.backends.pytorch import example, float_network

        # pnnx writes Python in which layers are attributes, so their names must not be numbers.
        layers = {f"layer{name}": layer for name, layer in float_network(files.checkpoint).named_children()}
        network = torch.nn.Sequential(OrderedDict(layers)).eval()
        pnnx.export(network, str(folder / "model.pt"), (example(),), fp16=False)
        return folder / "model.ncnn.param"

    def load(self, model: Path, threads: int) -> Call:
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.load_param(str(model))
        net.load_model(str(model.with_suffix(".bin")))

        def call(pixels: np.ndarray) -> np.ndarray:  # ncnn takes one image at a time
            logits = []
            for image in pixels.astype(np.float32):
                extractor = net.create_extractor()
                extractor.input("in0", ncnn.Mat(image).clone())  # a copy: ncnn must not compute on numpy's memory
                logits.append(np.array(extractor.extract("out0")[1]))
            return np.stack(logits)

        return call


FLOAT = _Ncnn()
