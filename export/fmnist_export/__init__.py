"""Export of PyTorch networks to ONNX and int8, and evaluation of the files (needs the extra ``export``)."""

import fmnist_runtime  # noqa: F401 (turns off the telemetry of onnxruntime and Ray before their import)
