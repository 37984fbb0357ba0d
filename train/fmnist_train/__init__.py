"""Training: data, models, recipes, the loop, evaluation and plots (needs the extra ``train``)."""

import logging

import fmnist_runtime  # noqa: F401 (disables the telemetry of onnxruntime and Ray before either is imported)

# Where the home cannot be written, as in a container, each process would print two lines about its cache.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
