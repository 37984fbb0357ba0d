"""Write a model's metadata into its file, and the checksum over everything."""

import json
from collections.abc import Mapping
from typing import Any

from onnx import ModelProto

from fmnist_runtime.model_file.integrity import checksum_span, file_checksum
from fmnist_runtime.model_file.metadata import CHECKSUM_KEY, PREFIX, SCHEMA

__all__ = ["stamp"]


def stamp(model: ModelProto, document: Mapping[str, Any]) -> bytes:
    """Serialise a model with its metadata (keys without the prefix) and checksum; equal input gives equal bytes."""
    stamped = ModelProto()
    stamped.CopyFrom(model)
    del stamped.metadata_props[:]
    for key, value in sorted({**document, "schema": SCHEMA}.items()):
        stamped.metadata_props.add(key=PREFIX + key, value=json.dumps(value, sort_keys=True))
    stamped.metadata_props.add(key=CHECKSUM_KEY, value="0" * 64)
    data = bytearray(stamped.SerializeToString(deterministic=True))
    span = checksum_span(bytes(data))
    if span is None:
        raise RuntimeError("the serialised model has no place for its checksum")  # a bug of ours, not of the caller
    data[span] = file_checksum(bytes(data), span).encode()
    return bytes(data)
