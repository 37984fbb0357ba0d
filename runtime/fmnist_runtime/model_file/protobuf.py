"""The parts of protobuf's wire format that ONNX files use: https://protobuf.dev/programming-guides/encoding/."""

from collections.abc import Iterator

from fmnist_runtime.errors import ModelError

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "malformed", "message_fields", "read_varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


def message_fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields (field number, wire type, value, stop) for each field of one message.

    ``stop`` is the position after the field. For a field of type BYTES, the content is ``data[value:stop]``.

    Raises:
        ModelError: The message is malformed.
    """
    while position < end:
        tag, position = read_varint(data, position, end)
        field, wire = tag >> 3, tag & 7
        if field == 0 or tag >> 32:  # a parser that keeps 32 bits would read another field number
            raise malformed()
        value, stop = position, position
        if wire == VARINT:
            value, stop = read_varint(data, position, end)
        elif wire == BYTES:
            length, value = read_varint(data, position, end)
            stop = value + length
        elif wire == FIXED64:
            stop = position + 8
        elif wire == FIXED32:
            stop = position + 4
        else:  # groups, which ONNX never used, and the two unassigned types
            raise malformed()
        if stop > end:
            raise malformed()
        yield field, wire, value, stop
        position = stop


def read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Reads one base-128 number of at most ten bytes; returns the number and the position after it.

    Raises:
        ModelError: The number does not end before ``end`` or within ten bytes.
    """
    value = shift = 0
    for index in range(position, min(end, position + 10)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise malformed()


def malformed() -> ModelError:
    """Returns the error for data that is not a protobuf message, or not of the expected type."""
    return ModelError("not an ONNX model: the file is damaged or of another kind")
