"""ExecuTorch with its XNNPACK delegate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT"]


@dataclass(frozen=True)
class _ExecuTorch:
    packages: tuple[str, ...] = ("executorch",)

    def convert(self, files: Files, folder: Path) -> Path:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        from fmnist_bench.backends.pytorch import example, float_network

        exported = torch.export.export(float_network(files.checkpoint), (example(),))
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
        target = folder / "model.pte"
        target.write_bytes(program.buffer)
        return target

    def load(self, model: Path, threads: int) -> Call:
        import torch
        from executorch.runtime import Runtime

        torch.set_num_threads(threads)
        forward = Runtime.get().load_program(model).load_method("forward")

        def one(pixels: np.ndarray) -> np.ndarray:
            logits: np.ndarray = forward.execute([torch.from_numpy(pixels.astype(np.float32))])[0].numpy().copy()
            return logits

        return lambda pixels: np.concatenate([one(pixels[i : i + 1]) for i in range(len(pixels))])


FLOAT = _ExecuTorch()
