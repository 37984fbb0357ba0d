"""Reads nodes, constants and metadata of an ONNX file without the ``onnx`` package, and writes models of one node.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.protobuf import BYTES, FIXED32, VARINT, malformed, message_fields, read_varint

__all__ = ["Node", "OnnxGraph", "one_node_model", "read_graph"]

_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
"""Little-endian numpy types by TensorProto.DataType: those in quantized graphs and in the float graphs before them."""
_TYPE_NUMBERS = {np.dtype(name): number for number, name in _DTYPES.items()}
"""TensorProto.DataType by numpy type."""
_TYPED_DATA = {4: "<f4", 10: "<f8"}
"""Fields of TensorProto that hold packed floats; int32_data and int64_data hold varints."""
MAX_BYTES = 1 << 24
"""Largest file in bytes: twice the size of the largest network, see ``values.MAX_VALUES``. A number may take 16 bytes of memory."""
_OPSETS = {"": 18, "com.microsoft": 1}
"""Operator sets of written models."""


@dataclass(frozen=True)
class Node:
    """One operator of the graph."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Values by name: int, float, bytes, or tuples of int or float. Attributes of other types are left out."""


@dataclass(frozen=True)
class OnnxGraph:
    """Main graph of an ONNX file."""

    nodes: tuple[Node, ...]
    """In order of execution."""
    initializers: Mapping[str, np.ndarray]
    """Constants by name."""
    metadata_props: Mapping[str, str]
    """Metadata values by key."""


def read_graph(data: bytes) -> OnnxGraph:
    """Reads a file's graph and metadata.

    Args:
        data: Contents of an ONNX file without external data.

    Raises:
        ModelError: The file is malformed or too large, or has constants that are no numbers.
    """
    if len(data) > MAX_BYTES:
        raise ModelError(f"larger than {MAX_BYTES >> 20} MiB: too large for a page or a microcontroller")
    nodes: list[Node] = []
    initializers: dict[str, np.ndarray] = {}
    metadata: dict[str, str] = {}
    try:
        for number, start, stop in _messages(data, 0, len(data), {7, 14}):
            if number == 14:
                entry = {key: data[a:b].decode() for key, a, b in _messages(data, start, stop, {1, 2})}
                metadata[entry[1]] = entry[2]
                continue
            for part, a, b in _messages(data, start, stop, {1, 5}):
                if part == 1:
                    nodes.append(_read_node(data, a, b))
                else:
                    name, values = _read_tensor(data, a, b)
                    initializers[name] = values
    except ModelError:
        raise
    except (LookupError, ValueError, struct.error) as error:
        raise malformed() from error
    return OnnxGraph(tuple(nodes), initializers, metadata)


def one_node_model(
    operator: str, domain: str, *, inputs: Sequence[str], output: str, constants: Mapping[str, np.ndarray]
) -> bytes:
    """Returns a model of one operator. Its output, and its inputs other than ``constants``, are uint8 ``[N]``."""
    node = [(1, name) for name in inputs] + [(2, output), (4, operator), (7, domain)]
    graph: list[tuple[int, Any]] = [(1, _message(node)), (2, operator)]
    graph += [(5, _tensor(name, values)) for name, values in constants.items()]
    graph += [(11, _byte_vector(name)) for name in inputs if name not in constants]
    graph.append((12, _byte_vector(output)))
    opsets = [(8, _message([(1, name), (2, version)])) for name, version in _OPSETS.items()]
    return _message([(1, 10), *opsets, (7, _message(graph))])


def _messages(data: bytes, start: int, end: int, numbers: set[int]) -> Iterator[tuple[int, int, int]]:
    """Yields (field number, start, stop) of the length-delimited fields with these numbers."""
    for number, wire, value, stop in message_fields(data, start, end):
        if number in numbers:
            if wire != BYTES:
                raise malformed()
            yield number, value, stop


def _read_node(data: bytes, start: int, end: int) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""]}
    attributes: dict[str, Any] = {}
    for number, a, b in _messages(data, start, end, {1, 2, 3, 4, 5}):
        if number == 5:
            name, value = _read_attribute(data, a, b)
            if value is not None:
                attributes[name] = value
        else:
            texts[number].append(data[a:b].decode())
    inputs, outputs = (tuple(texts[number]) for number in (1, 2))
    return Node(texts[4][-1], texts[3][-1], inputs, outputs, attributes=attributes)


def _read_attribute(data: bytes, start: int, end: int) -> tuple[str, Any]:
    name, value = "", None
    floats: list[float] = []
    integers: list[int] = []
    for number, wire, a, b in message_fields(data, start, end):
        if number == 1:
            name = data[a:b].decode()
        elif number == 2 and wire == FIXED32:
            value = struct.unpack("<f", data[a:b])[0]
        elif number == 3 and wire == VARINT:
            value = _signed(a)
        elif number == 4:
            value = data[a:b]
        elif number == 7:
            floats += np.frombuffer(data[a:b], "<f4").tolist()
        elif number == 8:
            integers += _integers(data, wire, a, b)
    return name, value if value is not None else tuple(floats or integers) or None


def _read_tensor(data: bytes, start: int, end: int) -> tuple[str, np.ndarray]:
    name, kind = "", 0
    dims: list[int] = []
    integers: list[int] = []
    values = None
    for number, wire, a, b in message_fields(data, start, end):
        if number == 1:
            dims += _integers(data, wire, a, b)
        elif number == 2:
            kind = a
        elif number == 8:
            name = data[a:b].decode()
        elif number == 9:
            values = np.frombuffer(data[a:b], _DTYPES[kind])
        elif number in _TYPED_DATA:
            values = np.frombuffer(data[a:b], _TYPED_DATA[number])
        elif number in (5, 7):
            integers += _integers(data, wire, a, b)
        if kind and kind not in _DTYPES:
            raise ModelError("a constant of another type than numbers: neither the page nor the C can run this model")
    if values is None:
        values = np.array(integers, _DTYPES[kind])
    return name, values.reshape(dims)


def _integers(data: bytes, wire: int, start: int, stop: int) -> list[int]:
    """Returns the values of a repeated int64 field; if it is not packed, ``start`` is the single value itself."""
    if wire == VARINT:
        return [_signed(start)]
    values = []
    while start < stop:
        value, start = read_varint(data, start, stop)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _message(fields: Sequence[tuple[int, int | str | bytes]]) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3 | VARINT), _varint(value)]
        else:
            content = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | BYTES), _varint(len(content)), content]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = [(1, size) for size in values.shape]
    return _message([*dims, (2, _TYPE_NUMBERS[values.dtype]), (8, name), (9, values.tobytes())])


def _byte_vector(name: str) -> bytes:
    """ValueInfoProto of a uint8 tensor ``[N]``."""
    shape = _message([(1, _message([(2, "N")]))])
    tensor = _message([(1, _TYPE_NUMBERS[np.dtype(np.uint8)]), (2, shape)])
    return _message([(1, name), (2, _message([(1, tensor)]))])
