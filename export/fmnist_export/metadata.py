"""Metadata of an exported file: the fields, and their insertion into the model together with a checksum."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto

from fmnist_export.graph import copy_model
from fmnist_runtime.model_file.integrity import checksum_span, file_checksum
from fmnist_runtime.model_file.metadata import CHECKSUM_KEY, PREFIX, SCHEMA
from fmnist_runtime.selftest import Golden, pack_golden
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.checkpoint import Checkpoint
from fmnist_train.data.sources import PUBLISHED, Split
from fmnist_train.data.splits import arrays_sha256
from fmnist_train.models import Normalize, count_parameters

__all__ = ["build_metadata", "build_proof", "build_selftest", "logit_tolerance", "stamp"]

_GOLDEN_IMAGES = 8
"""Largest number of self-test images: 6 kB of pixels before compression."""
_FLOAT_TOLERANCE = 1e-3
"""Largest allowed difference of a float32 logit: the order of float sums depends on the processor."""
_HALF_TOLERANCE = 0.1
"""Largest allowed difference of a float16 logit: some processors round sums to 11 bits, others to 24 bits."""
_MIXED_TOLERANCE = 0.25
"""Largest allowed difference of a logit, if an int8 model has float layers: rounding may change an activation by one step."""
_LICENSE = "MIT, both the weights and Fashion-MNIST (Zalando SE)"
_OWN_LICENSE = "decided by the owner of the images"
"""License of weights from a user's own images, of which the project knows nothing."""
_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
"""Packages whose versions are recorded."""


def build_metadata(checkpoint: Checkpoint, macs: int, temperature: float, reject: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that all files of one export share.

    Args:
        checkpoint: The network with its description.
        macs: Multiply-accumulates of the float model for one image.
        temperature: Divisor of the logits, over 0.
        reject: Reject rule, as ``calibration.fit_reject`` returns it.

    Returns:
        Keys as in ``fmnist_runtime.model_file.metadata``, without the prefix.
    """
    info = checkpoint.info
    normalize = next(m for m in checkpoint.model.modules() if isinstance(m, Normalize))
    return {
        "labels": info["labels"],
        "input": {
            "name": "image",
            "dtype": "uint8",
            "shape": ["N", 1, IMAGE_SIZE, IMAGE_SIZE],
            "mean": normalize.mean,
            "std": normalize.std,
            "convention": "light garment on black background; the background is 0",
        },
        "model": {**info["model"], "parameters": count_parameters(checkpoint.model), "macs": macs},
        "temperature": temperature,
        "reject": reject,
        "training": {key: info[key] for key in ("recipe", "seed", "dataset", "epoch", "teachers") if key in info},
        "checkpoint_sha256": checkpoint.sha256,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _TOOLS},
        },
        "licence": _LICENSE if info["dataset"] in PUBLISHED else _OWN_LICENSE,
    }


def logit_tolerance(precision: str, calibration: Mapping[str, Any] | None) -> float:
    """Returns the largest allowed difference of a logit on another processor; 0 where all layers compute on integers.

    Args:
        precision: ``float32``, ``float16`` or ``int8``.
        calibration: Metadata field of that name.
    """
    if precision == "int8":
        return _MIXED_TOLERANCE if (calibration or {}).get("float_layers") else 0.0
    return _HALF_TOLERANCE if precision == "float16" else _FLOAT_TOLERANCE


def build_selftest(test: Split, logits: np.ndarray, tolerance: float) -> dict[str, Any]:
    """Returns the field ``selftest``: the first image of each class, up to eight, with its logits.

    Args:
        test: Test images.
        logits: The file's logits of them, float32 ``[N, classes]``.
        tolerance: Result of ``logit_tolerance``.
    """
    chosen = np.sort(np.unique(test.labels, return_index=True)[1])[:_GOLDEN_IMAGES]
    return pack_golden(Golden(test.images[chosen, None], logits[chosen], tolerance))


def build_proof(test: Split, reference: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """Returns the field ``proof``, with which ``fmnist-export verify`` computes a file's figures without the checkpoint.

    Args:
        test: Test images.
        reference: PyTorch's logits of them, ``[N, classes]``.
        logits: The file's logits, float32 ``[N, classes]``.

    Returns:
        ``images_sha256`` (of pixels, then labels), ``logits_sha256`` (as little-endian float32), and ``pytorch_differs``:
        pairs of an image's position and PyTorch's class, wherever the file's class is another.
    """
    expected, found = reference.argmax(axis=1), logits.argmax(axis=1)
    return {
        "images_sha256": arrays_sha256(test.images, test.labels),
        "logits_sha256": arrays_sha256(np.ascontiguousarray(logits, "<f4")),
        "pytorch_differs": [[int(i), int(expected[i])] for i in np.flatnonzero(expected != found)],
    }


def stamp(model: ModelProto, document: Mapping[str, Any]) -> bytes:
    """Serializes a model with its metadata and checksum; equal arguments give equal bytes.

    Args:
        model: Graph; its present metadata are removed.
        document: Fields by keys without the prefix, JSON-ready; ``schema`` is added.
    """
    stamped = copy_model(model)
    del stamped.metadata_props[:]
    for key, value in sorted({**document, "schema": SCHEMA}.items()):
        stamped.metadata_props.add(key=PREFIX + key, value=json.dumps(value, sort_keys=True))
    stamped.metadata_props.add(key=CHECKSUM_KEY, value="0" * 64)
    data = bytearray(stamped.SerializeToString(deterministic=True))
    span = checksum_span(bytes(data))
    if span is None:
        raise RuntimeError("the serialized model has no place for its checksum")  # a defect of this module
    data[span] = file_checksum(bytes(data), span).encode()
    return bytes(data)
