"""The device side of fmnist-edge: classify pictures of clothing with one ONNX file; numpy, Pillow and onnxruntime only.

>>> from fmnist_runtime import Classifier
>>> classifier = Classifier.load()          # the embedded model
>>> classifier("photo.jpg").label           # a path, a Pillow image or a uint8 array
'Sneaker'

Names are imported on first use, so that ``import fmnist_runtime`` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.errors import ConfigError, FmnistError, ImageError, ModelError
    from fmnist_runtime.prediction import Prediction, Top

__all__ = ["Classifier", "ConfigError", "FmnistError", "ImageError", "ModelError", "Prediction", "Top", "__version__"]

_HOME = {
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
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fmnist-edge")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
