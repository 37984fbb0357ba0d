"""Responses of the service: JSON on one line, and the 503 of an overloaded or stopping service."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

__all__ = ["INTERNAL_ERROR", "JsonLine", "busy", "error_response"]

INTERNAL_ERROR = {"error": "internal error"}
"""Body of a 500: details are in the log, not in the response."""


class JsonLine(JSONResponse):
    """JSON on one line, so that responses can be collected in a file."""

    def render(self, content: Any) -> bytes:
        """Returns the JSON and a line break; in ASCII if a label contains bytes that are not text."""
        try:
            return super().render(content) + b"\n"
        except UnicodeEncodeError:
            return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def busy(reason: str, *, close: bool = False) -> HTTPException:
    """Returns a 503 whose ``Retry-After`` is one second.

    Args:
        reason: The response's ``error``.
        close: Whether the connection is closed, too.
    """
    return HTTPException(503, reason, {"Retry-After": "1"} | ({"Connection": "close"} if close else {}))


def error_response(error: HTTPException) -> JsonLine:
    """Returns the response to an ``HTTPException``."""
    return JsonLine({"error": error.detail}, error.status_code, error.headers)
