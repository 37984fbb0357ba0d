"""``fmnist-bench``: how long one answer takes on this machine, measured so that noise hits all contestants alike."""

import fmnist_runtime  # noqa: F401 (turns off the telemetry of onnxruntime and Ray, before anything can import them)
