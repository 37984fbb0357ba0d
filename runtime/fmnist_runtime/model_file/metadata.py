"""Schema of a model file's ONNX ``metadata_props``, read here and written by the export.

Every key starts with ``fmnist.`` and every value is JSON, except ``fmnist.sha256``, which is 64 hexadecimal digits.

| key | value |
|---|---|
| ``fmnist.schema`` | integer, ``SCHEMA``; a reader refuses a newer one |
| ``fmnist.labels`` | list of class names; the position is the class id |
| ``fmnist.input`` | object: ``name``, ``dtype``, ``shape``, ``mean``, ``std`` (in 8-bit pixels), ``convention`` |
| ``fmnist.model`` | object: ``name``, ``options``, ``parameters``, ``macs`` (of this file's graph) |
| ``fmnist.precision`` | ``"float32"`` or ``"int8"`` (also ``"float16"``) |
| ``fmnist.temperature`` | number over 0, a normal float32: ``probabilities = softmax(logits / temperature)`` |
| ``fmnist.reject`` | object ``score`` (see ``reject.py``), ``threshold``, ``acceptance``; or null: never reject |
| ``fmnist.training`` | object: the resolved ``recipe``, ``seed``, ``dataset`` |
| ``fmnist.checkpoint_sha256`` | SHA-256 of the checkpoint's weights file |
| ``fmnist.calibration`` | object: ``method``, ``target``, ``images``, ``sha256`` of the pixels; null for float. Where \
present: ``float_layers`` (names), ``tuning`` (``epochs``, ``aim``; the weights are not the checkpoint's) |
| ``fmnist.accuracy`` | object ``pytorch``, ``float32``, ``int8``: each ``correct``, ``images``, ``accuracy``, ``interval`` (95%) |
| ``fmnist.parity`` | object: measurements of the export's gate |
| ``fmnist.proof`` | object: evidence that ``fmnist-export verify`` computes again |
| ``fmnist.versions`` | object: names of tools to versions |
| ``fmnist.licence`` | license of weights and data |
| ``fmnist.selftest`` | object: real images with their expected logits, see ``selftest.py`` |
| ``fmnist.sha256`` | SHA-256 of the whole file, with these 64 digits set to ``0`` |
"""

import json
from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fmnist_runtime.errors import MALFORMED, ModelError, reason_of

__all__ = ["CHECKSUM_KEY", "PREFIX", "SCHEMA", "Metadata", "check_metadata_size"]

SCHEMA = 1
"""Newest schema version that this runtime reads."""
PREFIX = "fmnist."
"""Prefix of all keys."""
CHECKSUM_KEY = PREFIX + "sha256"
"""Key of the file's checksum."""
MAX_METADATA_BYTES = 1 << 21
"""Largest size of all keys and values together, in bytes. Our models have up to 9 kB. A thousand classes, and a proof that lists
as many of a hundred thousand test images as differ, have less than half of the limit. As JSON, a byte takes up to 40 in memory."""
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
"""Range of the temperature: the browser page and the C compute in float32, and some processors flush smaller numbers to 0."""
MAX_METADATA_KEYS = 1000
"""Largest number of keys; our models have 17."""


class Metadata(NamedTuple):
    """Metadata of a model file.

    Attributes:
        labels: Class names; the position is the class id.
        precision: See the table above.
        temperature: Divisor of the logits, over 0.
        reject: Object of the reject rule, see ``RejectRule.from_metadata``; None: never reject.
        document: All fields by their keys without prefix.
    """

    labels: tuple[str, ...]
    precision: str
    temperature: float
    reject: Mapping[str, Any] | None
    document: Mapping[str, Any]

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> "Metadata":
        """Reads and checks ``metadata_props``.

        Raises:
            ModelError: No metadata of this project, too large, a newer schema, or a missing or malformed value.
        """
        # Of an ONNX file, ``verify_structure`` has counted the bytes; this is for the ORT format.
        check_metadata_size(len(props), sum(len(key) + len(value) for key, value in props.items()))
        document = _parse(props)
        try:
            if not isinstance(document["labels"], list):
                raise TypeError("the labels are not a list")
            labels = tuple(str(label) for label in document["labels"])
            if not all(label.strip() for label in labels):
                raise ValueError("a label is empty")
            temperature = float(document["temperature"])
            metadata = cls(
                labels=labels,
                precision=str(document["precision"]),
                temperature=temperature,
                reject=document.get("reject"),
                document=MappingProxyType(document),
            )
        except MALFORMED as error:
            raise ModelError(
                f"the model's metadata is incomplete or malformed ({reason_of(error)}); export it again"
            ) from error
        if not labels or not _LEAST <= temperature <= _MOST:
            raise ModelError("the model's metadata has no labels or no positive float32 temperature; export it again")
        return metadata


def check_metadata_size(keys: int, size: int) -> None:
    """Refuses metadata that would take long or much memory to read.

    Args:
        keys: Number of keys.
        size: Length of all keys and values together.

    Raises:
        ModelError: A limit is exceeded.
    """
    if keys > MAX_METADATA_KEYS or size > MAX_METADATA_BYTES:
        raise ModelError(
            f"the model's metadata has more than {MAX_METADATA_KEYS:,} keys or {MAX_METADATA_BYTES >> 20} MiB: refused"
        )


def _finite(text: str) -> float:
    """Converts a number of JSON; refuses ``NaN``, ``Infinity`` and ``1e999``, which cannot be written as JSON again."""
    if not isfinite(number := float(text)):
        raise ValueError(f"{text} is not a number")
    return number


def _parse(props: Mapping[str, str]) -> dict[str, Any]:
    if PREFIX + "schema" not in props:
        raise ModelError("the model has no fmnist metadata: it was not written by fmnist-export")
    document: dict[str, Any] = {}
    for key, value in props.items():
        if not key.startswith(PREFIX):
            continue
        try:
            document[key.removeprefix(PREFIX)] = (
                value if key == CHECKSUM_KEY else json.loads(value, parse_float=_finite, parse_constant=_finite)
            )
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the model's metadata field {key} is not JSON; the file is damaged") from error
    schema = document["schema"]
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ModelError(f"the model's metadata schema is {schema!r}, not a number from 1; the file is damaged")
    if schema > SCHEMA:
        raise ModelError(
            f"the model's metadata schema is {schema}, this runtime reads up to {SCHEMA}: upgrade fmnist-edge on this device"
        )
    return document
