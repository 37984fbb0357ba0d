"""``fmnist-bench``: the latency of each installed runtime on this machine, in interleaved rounds."""

import fmnist_runtime  # noqa: F401 (turns off the telemetry of onnxruntime and Ray before either is imported)
