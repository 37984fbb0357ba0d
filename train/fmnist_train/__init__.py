"""Training: data, models, recipes, the loop, evaluation and plots (needs the extra ``train``)."""

import fmnist_runtime  # noqa: F401 (disables the telemetry of onnxruntime and Ray before either is imported)
