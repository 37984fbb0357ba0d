"""Device runtime of fmnist-edge: classifies photos of clothing with one ONNX file (numpy, Pillow and onnxruntime only).

>>> from fmnist_runtime import Classifier
>>> classifier = Classifier.load()          # the embedded model
>>> classifier("photo.jpg").label           # a path, a file's bytes, a Pillow image or a uint8 array
'Sneaker'

Names are imported on first use: ``import fmnist_runtime`` loads neither numpy nor onnxruntime.

Importing this package turns off the telemetry of onnxruntime and the usage statistics of Ray. It sets the variables of
``PRIVACY_DEFAULTS`` in the process's environment, unless they are set already. Every other package of this project imports
this one first, and child processes inherit the environment.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.errors import ConfigError, FmnistError, ImageError, ModelError
    from fmnist_runtime.prediction import Answer, Prediction, Top

__all__ = [
    "PRIVACY_DEFAULTS",
    "Answer",
    "Classifier",
    "ConfigError",
    "FmnistError",
    "ImageError",
    "ModelError",
    "Prediction",
    "Top",
    "__version__",
]

PRIVACY_DEFAULTS = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's wheels send telemetry since 1.29 (onnxruntime pull request 27379)
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray uploads usage statistics of each cluster that it starts
}
"""Environment variables that keep libraries from sending data. A value that the user has set is not changed."""

for _name, _value in PRIVACY_DEFAULTS.items():
    os.environ.setdefault(_name, _value)

_MODULES = {
    "Answer": "prediction",
    "Classifier": "classifier",
    "ConfigError": "errors",
    "FmnistError": "errors",
    "ImageError": "errors",
    "ModelError": "errors",
    "Prediction": "prediction",
    "Top": "prediction",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fmnist-edge")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
