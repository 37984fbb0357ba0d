"""OpenVINO, reading the very files that onnxruntime reads; the int8 one without what arranges it for onnxruntime's kernels."""

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
        narrow_first_convolution(model)  # as it lies there, its call takes a tenth longer here
        onnx.save(model, folder / "openvino.onnx")
        return folder / "openvino.onnx"

    def load(self, model: Path, threads: int) -> Call:
        import openvino

        # Left alone it computes in bfloat16 where the processor has it; the others do not.
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(str(model), "CPU", settings)
        request, logits = compiled.create_infer_request(), compiled.output("logits")

        def call(pixels: np.ndarray) -> np.ndarray:
            return request.infer({"image": pixels}, share_inputs=True)[logits].copy()

        return call


INT8, FLOAT = _OpenVINO("int8"), _OpenVINO("float32")
