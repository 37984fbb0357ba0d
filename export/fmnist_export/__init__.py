"""Export: PyTorch to ONNX to int8, and the proof that they agree (needs the extra ``export``)."""

import fmnist_runtime  # noqa: F401 (turns off the telemetry of onnxruntime and Ray, before anything can import them)
