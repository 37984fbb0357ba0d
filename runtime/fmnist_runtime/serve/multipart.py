"""The files of a multipart/form-data body (RFC 7578), from memory; nothing is written to disk."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

__all__ = ["File", "read_files"]

_OTHER_PARTS = 16
"""Parts that are no files, which a form may have too."""


@dataclass(frozen=True, slots=True)
class File:
    """One uploaded file."""

    name: str
    data: bytes


def read_files(content_type: str, body: bytes, limit: int) -> list[File]:
    """The parts that have a file name, in order.

    Args:
        content_type: the request's header, which carries the boundary.
        body: the whole body.
        limit: how many files there may be.

    Raises:
        HTTPException: 413 too many, 422 malformed, truncated, or without a file.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise HTTPException(422, "multipart/form-data without a boundary")
    form = _Form(limit)
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        MultipartParser(boundary, callbacks).write(body)
    except FormParserError as error:
        raise HTTPException(422, f"malformed multipart/form-data: {error}") from error
    if not form.complete:
        raise HTTPException(422, "truncated multipart/form-data: the closing boundary is missing")
    if not form.files:
        raise HTTPException(422, "multipart/form-data without a file: no part has a file name")
    return form.files


@dataclass
class _Form:
    """What the parser's callbacks gather."""

    limit: int
    files: list[File] = field(default_factory=list)
    complete: bool = False
    parts: int = 0
    name: str = ""
    header: bytes = b""
    value: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def on_part_begin(self) -> None:
        self.parts += 1
        self.name, self.header, self.value, self.pieces = "", b"", b"", []
        if self.parts > self.limit + _OTHER_PARTS:
            raise HTTPException(413, f"more than {self.limit} files in one request")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            name = parse_options_header(self.value)[1].get(b"filename", b"")
            self.name = name.decode("utf-8", "replace")
        self.header, self.value = b"", b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.name:
            self.pieces.append(data[start:end])

    def on_part_end(self) -> None:
        if self.name:
            self.files.append(File(self.name, b"".join(self.pieces)))
        if len(self.files) > self.limit:
            raise HTTPException(413, f"more than {self.limit} files in one request")

    def on_end(self) -> None:
        self.complete = True
