"""Is this file whole, and does it stay inside itself? Both are checked on the bytes, before onnxruntime sees them.

The checksum covers every byte of the file, so a damaged download cannot answer. The walk over the protobuf refuses
tensors that are stored outside the file: their location is a path that the file chooses, hence a way to read any file
of the device (see https://onnx.ai/onnx/repo-docs/ExternalData.html). It also refuses what is not well-formed, which
keeps hostile input away from the C++ parser. In the ORT format, a flatbuffer, a tensor has no path to name: onnxruntime
verifies the buffer itself, and refuses a tensor that lies elsewhere. What neither can judge is what the graph itself costs:
a model is a program, to be taken from whom one trusts, or by its ``--sha256``.
"""

import re
from collections.abc import Iterator

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.metadata import CHECKSUM_KEY

try:  # Python's own SHA-256: hashlib's brings OpenSSL along, 4 MB of memory to hash half a megabyte
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # its name before Python 3.12
    except ImportError:  # another Python, or one built without it
        from hashlib import sha256

__all__ = ["checksum_span", "file_checksum", "is_ort", "refuse_external_data", "verify_checksum", "verify_sha256"]

DIGITS = 64
_ORT_CHECKSUM = re.compile(rb"\x40\x00\x00\x00([0-9a-f]{64})\x00")
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 100  # protobuf's own limit on nested messages
MAX_FIELDS = 1_000_000  # a graph of a thousand nodes has some ten thousand; two bytes of a hostile file are one more

# The part of onnx.proto that leads to tensors: message -> field number -> message in that field.
SCHEMA: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of Tensor
GRAPH = 7  # field of Model


def verify_sha256(data: bytes, expected: str) -> None:
    """Refuse a file whose SHA-256 is not ``expected`` (64 hexadecimal digits).

    Raises:
        ModelError: another hash, or something that is no hash.
    """
    digits = expected.strip().lower()
    if len(digits) != DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise ModelError(f"'{expected}' is no SHA-256: it needs {DIGITS} hexadecimal digits")
    actual = sha256(data).hexdigest()
    if actual != digits:
        raise ModelError(f"the model file's SHA-256 is {actual}, expected {digits}: this is another file")


def is_ort(data: bytes) -> bool:
    """Whether a model file is in onnxruntime's ORT format: a flatbuffer with this identifier."""
    return data[4:8] == b"ORTM"


def checksum_span(data: bytes) -> slice | None:
    """Where the 64 digits of the embedded checksum stand in a model file; None where it has none, or not exactly one."""
    if is_ort(data):  # a flatbuffer's string: its length, the characters, a zero; no other value has just 64 digits
        found = list(_ORT_CHECKSUM.finditer(data))
        return slice(*found[0].span(1)) if len(found) == 1 else None
    key = CHECKSUM_KEY.encode()
    # One metadata_props entry as every protobuf writer lays it out: key (field 1), then value (field 2).
    marker = bytes([1 << 3 | BYTES, len(key)]) + key + bytes([2 << 3 | BYTES, DIGITS])
    start = data.find(marker) + len(marker)
    if start < len(marker) or data.find(marker, start) >= 0 or start + DIGITS > len(data):
        return None
    return slice(start, start + DIGITS)


def file_checksum(data: bytes, span: slice) -> str:
    """SHA-256 of a model file with the 64 digits at ``span`` taken as ``0``, as hexadecimal digits."""
    view = memoryview(data)
    digest = sha256(view[: span.start])
    digest.update(b"0" * DIGITS)
    digest.update(view[span.stop :])
    return str(digest.hexdigest())


def verify_checksum(data: bytes) -> None:
    """Refuse a model file that carries no checksum, or does not match it.

    Raises:
        ModelError: as said.
    """
    span = checksum_span(data)
    if span is None:
        raise ModelError("the model carries no fmnist checksum: it was not written by fmnist-export, or is damaged")
    if data[span] != file_checksum(data, span).encode():
        raise ModelError("the model file is damaged: its contents do not match its checksum; fetch or export it again")


def refuse_external_data(data: bytes) -> None:
    """Walk a serialised ONNX model and refuse tensors stored outside the file, wherever they hide; an ORT file has none.

    Raises:
        ModelError: external data, millions of parts, or bytes that are no well-formed ONNX model.
    """
    if is_ort(data):
        return
    todo = [("Model", 0, len(data), 0)]
    has_graph, left = False, MAX_FIELDS
    while todo:
        message, start, end, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise ModelError(f"the model nests deeper than {MAX_DEPTH} messages: refused")
        children = SCHEMA[message]
        for field, wire, value, stop in _fields(data, start, end):
            left -= 1
            if left < 0:
                raise ModelError(f"the model is made of more than {MAX_FIELDS:,} parts: refused")
            if message == "Tensor":
                _check_tensor_field(field, wire, value)
            elif field in children:
                if wire != BYTES:
                    raise _malformed()
                has_graph |= message == "Model" and field == GRAPH
                todo.append((children[field], value, stop, depth + 1))
    if not has_graph:
        raise ModelError("not an ONNX model: it holds no graph")


def _check_tensor_field(field: int, wire: int, value: int) -> None:
    if field == EXTERNAL_DATA or (field == DATA_LOCATION and (wire != VARINT or value)):
        raise ModelError("the model stores weights in external files: refused; export it as one file")


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, value, stop) of one message; for bytes ``data[value:stop]`` is the content."""
    while position < end:
        tag, position = _varint(data, position, end)
        field, wire = tag >> 3, tag & 7
        if field == 0 or tag >> 32:  # a parser that keeps 32 bits would see another field than this walk
            raise _malformed()
        value, stop = position, position
        if wire == VARINT:
            value, stop = _varint(data, position, end)
        elif wire == BYTES:
            length, value = _varint(data, position, end)
            stop = value + length
        elif wire == FIXED64:
            stop = position + 8
        elif wire == FIXED32:
            stop = position + 4
        else:  # groups, which ONNX never had, and the two unused types
            raise _malformed()
        if stop > end:
            raise _malformed()
        yield field, wire, value, stop
        position = stop


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read one base-128 number of at most ten bytes; return it with the position behind it."""
    value = shift = 0
    for index in range(position, min(end, position + 10)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise _malformed()


def _malformed() -> ModelError:
    return ModelError("not an ONNX model: the file is damaged or of another kind")
