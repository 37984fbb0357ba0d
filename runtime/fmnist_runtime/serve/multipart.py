"""Reads the files of a multipart/form-data body (RFC 7578) in memory; nothing is written to disk."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from fmnist_runtime.console import counted

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["File", "read_files"]

_OTHER_PARTS = 16
"""Largest number of further parts in a form, without a file name: a few form fields."""
_MOST_PARAMETERS = 256
"""Largest number of semicolons in a header value; one stands before each parameter, further ones in a file name. The parser
takes time in proportion to its square."""
_PARAMETER = re.compile(rb';\s*(?P<name>[^\s=;"]+)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|[^;]*)')
"""One parameter of a header value (RFC 9110, section 5.6.6)."""
_IDENTITY = frozenset([b"7bit", b"8bit", b"binary"])
"""Values of Content-Transfer-Encoding that leave the bytes as they are. RFC 7578, section 4.7, deprecates the header."""
_CHARSETS = {b"utf-8": "utf-8", b"iso-8859-1": "iso-8859-1"}
"""Character sets of an extended parameter that RFC 5987 requires."""


@dataclass(frozen=True, slots=True)
class File:
    """One uploaded file."""

    name: str
    """File name, as sent; - where it is empty."""
    data: bytes
    """Contents."""


def read_files(content_type: str, body: bytes, limit: int) -> list[File]:
    """Returns the parts that have a file name, in order.

    A preamble before the first boundary is discarded (RFC 2046, section 5.1.1).

    Args:
        content_type: Header of the request, which has the boundary.
        body: The whole body.
        limit: Largest number of files.

    Raises:
        HTTPException: 413: too many files; 422: the body is malformed, truncated, or without a file.
    """
    boundary = _parameters(content_type.encode("latin-1")).get(b"boundary", b"")
    if not boundary:
        raise HTTPException(422, "multipart/form-data without a boundary")
    form = _Form(limit)
    try:
        MultipartParser(boundary, form.callbacks()).write(_without_preamble(body, boundary))
    except FormParserError as error:
        raise HTTPException(422, f"malformed multipart/form-data: {error}") from error
    if not form.complete:
        raise HTTPException(422, "truncated multipart/form-data: the closing boundary is missing")
    if not form.files:
        raise HTTPException(
            422, "multipart/form-data without a file: no part has a file name (with curl: -F file=@photo.jpg)"
        )
    return form.files


def _without_preamble(body: bytes, boundary: bytes) -> bytes:
    if body.startswith(b"--" + boundary):
        return body
    first = re.search(rb"\r\n--" + re.escape(boundary) + rb"(?=\r\n|--)", body)
    return body[first.start() + 2 :] if first else body


def _parameters(header: bytes) -> dict[bytes, bytes]:
    """Returns the parameters of a header value by name.

    Raises:
        HTTPException: 422: more than ``_MOST_PARAMETERS``.
    """
    if header.count(b";") > _MOST_PARAMETERS:
        raise HTTPException(
            422, f"malformed multipart/form-data: a header with more than {_MOST_PARAMETERS} parameters"
        )
    return parse_options_header(header)[1]


def _file_name(disposition: bytes) -> str | None:
    """Returns the file name of a Content-Disposition header, which may be empty; None where there is none.

    ``filename*`` (RFC 5987) takes precedence over ``filename``. RFC 7578 forbids it in forms, but clients send it for names
    that are not ASCII.
    """
    parameters = _parameters(disposition)
    for parameter in _PARAMETER.finditer(disposition):
        if parameter["name"].lower() == b"filename*":
            charset, _, rest = parameter["value"].strip(b' \t"').partition(b"'")
            _, quote, encoded = rest.partition(b"'")
            if quote and encoded and charset.lower() in _CHARSETS:
                return unquote_to_bytes(encoded).decode(_CHARSETS[charset.lower()], "replace")
    name = parameters.get(b"filename")
    return None if name is None else name.decode("utf-8", "replace")


@dataclass
class _Form:
    """State of the parser's callbacks."""

    limit: int
    files: list[File] = field(default_factory=list)
    complete: bool = False
    parts: int = 0
    name: str | None = None
    header: bytes = b""
    value: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_part_data": self.on_part_data,
            "on_part_end": self.on_part_end,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        self.parts += 1
        self.name, self.header, self.value, self.pieces = None, b"", b"", []
        if self.parts > self.limit + _OTHER_PARTS:
            raise HTTPException(413, f"more than {counted(self.limit + _OTHER_PARTS, 'part')} in one request")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.name = _file_name(self.value)
        if self.header.lower() == b"content-type" and self.value.lower().startswith(b"multipart/"):
            raise HTTPException(
                422, "several files in one part: send each in a part of its own (with curl: -F for each)"
            )
        if self.header.lower() == b"content-transfer-encoding" and self.value.strip().lower() not in _IDENTITY:
            encoding = self.value.decode("ascii", "backslashreplace")[:40]
            raise HTTPException(422, f"Content-Transfer-Encoding {encoding}: send the bytes of the file as they are")
        self.header, self.value = b"", b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.name is not None:
            self.pieces.append(data[start:end])

    def on_part_end(self) -> None:
        if self.name or self.pieces:  # where no file was chosen, browsers send an empty name and no bytes
            self.files.append(File(self.name or "-", b"".join(self.pieces)))
        if len(self.files) > self.limit:
            raise HTTPException(413, f"more than {counted(self.limit, 'file')} in one request")

    def on_end(self) -> None:
        self.complete = True
