"""OpenVINO on the files of onnxruntime.

The int8 file is rewritten first: its widened first convolution suits the kernels of onnxruntime only.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_bench.backends.registry import Call, Files

__all__ = ["FLOAT", "INT8"]


@dataclass(frozen=True)
class _OpenVINO:
    which: str
    packages: tuple[str, ...] = ("openvino",)

    def convert(self, files: Files, folder: Path) -> Path:
        if self.which == "float32":
            return Path(files.float32)
        import onnx

        from fmnist_export.quantization.first_conv import narrow_first_convolution

        model = onnx.load(files.int8)
        narrow_first_convolution(model)  # the widened one takes a tenth longer in OpenVINO
        onnx.save(model, folder / "openvino.onnx")
        return folder / "openvino.onnx"

    def load(self, model: Path, threads: int) -> Call:
        import openvino

        # By default it computes in bfloat16 where the processor supports it, unlike the others.
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(str(model), "CPU", settings)
        request, logits = compiled.create_infer_request(), compiled.output("logits")

        def call(pixels: np.ndarray) -> np.ndarray:
            found: np.ndarray = request.infer({"image": pixels}, share_inputs=True)[logits].copy()
            return found

        return call


INT8, FLOAT = _OpenVINO("int8"), _OpenVINO("float32")
