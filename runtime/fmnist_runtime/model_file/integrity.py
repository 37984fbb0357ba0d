"""Integrity checks of model files on their bytes, before onnxruntime reads them.

The checksum covers every byte of the file, so a damaged download is refused. The traversal of the protobuf refuses tensors
stored outside the file: their location is a path chosen by the file, which could be any file of the device (see
https://onnx.ai/onnx/repo-docs/ExternalData.html). It also refuses malformed files and very large metadata, so they do not
reach the C++ parser. In the ORT format, a flatbuffer, tensors have no path; onnxruntime verifies the buffer itself. Neither
check bounds the cost of the graph. A model is a program: take it from a trusted source, or check its hash with ``--sha256``.
"""

import re

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.metadata import CHECKSUM_KEY, check_metadata_size
from fmnist_runtime.model_file.protobuf import BYTES, VARINT, malformed, message_fields

try:  # Python's own SHA-256: that of hashlib loads OpenSSL, 4 MB of memory to hash half a megabyte
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # its name before Python 3.12
    except ImportError:  # another Python, or one built without it
        from hashlib import sha256

__all__ = ["checksum_span", "file_checksum", "is_ort", "verify_checksum", "verify_sha256", "verify_structure"]

DIGITS = 64
"""Hexadecimal digits of a SHA-256."""
_ORT_CHECKSUM = re.compile(rb"\x40\x00\x00\x00([0-9a-f]{64})\x00")
MAX_DEPTH = 100
"""Largest depth of nested messages: the limit of protobuf itself."""
MAX_FIELDS = 1_000_000
"""Largest number of fields of a file. A graph of 1,000 nodes has about 10,000; a hostile file can have one in two bytes."""

SCHEMA: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 14: "Metadata", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
    "Metadata": {},
}
"""Fields of onnx.proto that may contain tensors, and the file's metadata: type of the field, by message type and field number."""
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Field numbers in Tensor."""
GRAPH = 7
"""Field number in Model."""


def verify_sha256(data: bytes, expected: str) -> None:
    """Refuses a file whose SHA-256 is not ``expected`` (64 hexadecimal digits).

    Raises:
        ModelError: Another hash, or a malformed one.
    """
    digits = str(expected).strip().lower()
    if len(digits) != DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise ModelError(f"'{expected}' is not a SHA-256 of {DIGITS} hexadecimal digits")
    actual = sha256(data).hexdigest()
    if actual != digits:
        raise ModelError(f"the model file's SHA-256 is {actual}, expected {digits}: this is another file")


def is_ort(data: bytes) -> bool:
    """Returns whether a model file is in onnxruntime's ORT format: a flatbuffer with this identifier."""
    return data[4:8] == b"ORTM"


def checksum_span(data: bytes) -> slice | None:
    """Returns the position of the embedded checksum's 64 digits; None where a file has none, or more than one."""
    if is_ort(data):  # a string of a flatbuffer: length, characters, zero; no other value has exactly 64 digits
        found = list(_ORT_CHECKSUM.finditer(data))
        return slice(*found[0].span(1)) if len(found) == 1 else None
    key = CHECKSUM_KEY.encode()
    # One metadata_props entry, as all protobuf writers encode it: key (field 1), then value (field 2).
    marker = bytes([1 << 3 | BYTES, len(key)]) + key + bytes([2 << 3 | BYTES, DIGITS])
    start = data.find(marker) + len(marker)
    if start < len(marker) or data.find(marker, start) >= 0 or start + DIGITS > len(data):
        return None
    return slice(start, start + DIGITS)


def file_checksum(data: bytes, span: slice) -> str:
    """Returns the SHA-256 of a model file with the 64 digits at ``span`` replaced by ``0``, in hexadecimal."""
    view = memoryview(data)
    digest = sha256(view[: span.start])
    digest.update(b"0" * DIGITS)
    digest.update(view[span.stop :])
    return str(digest.hexdigest())


def verify_checksum(data: bytes) -> None:
    """Refuses a model file that has no checksum, or does not match it.

    Raises:
        ModelError: The file has no checksum, or its contents do not match it.
    """
    span = checksum_span(data)
    if span is None:
        raise ModelError("the model has no fmnist checksum: it was not written by fmnist-export, or is damaged")
    if data[span] != file_checksum(data, span).encode():
        raise ModelError("the model file is damaged: its contents do not match its checksum; fetch or export it again")


def verify_structure(data: bytes) -> None:
    """Refuses an ONNX model with tensors stored outside the file, at any depth, or with very large metadata.

    An ORT file has no such tensors, and its metadata are measured when they are read.

    Raises:
        ModelError: External data, more than ``MAX_FIELDS`` fields, metadata over their limits, or a malformed model.
    """
    if is_ort(data):
        return
    todo = [("Model", 0, len(data), 0)]
    has_graph, left = False, MAX_FIELDS
    keys = metadata_bytes = 0
    while todo:
        message, start, end, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise ModelError(f"the model nests deeper than {MAX_DEPTH} messages: refused")
        children = SCHEMA[message]
        for field, wire, value, stop in message_fields(data, start, end):
            left -= 1
            if left < 0:
                raise ModelError(f"the model is made of more than {MAX_FIELDS:,} parts: refused")
            if message == "Tensor":
                _check_tensor_field(field, wire, value)
            elif field in children:
                if wire != BYTES:
                    raise malformed()
                has_graph |= message == "Model" and field == GRAPH
                if children[field] == "Metadata":
                    keys, metadata_bytes = keys + 1, metadata_bytes + stop - value
                    check_metadata_size(keys, metadata_bytes)
                todo.append((children[field], value, stop, depth + 1))
    if not has_graph:
        raise ModelError("not an ONNX model: it has no graph")


def _check_tensor_field(field: int, wire: int, value: int) -> None:
    if field == EXTERNAL_DATA or (field == DATA_LOCATION and (wire != VARINT or value)):
        raise ModelError("the model stores weights in external files: refused; export it as one file")
