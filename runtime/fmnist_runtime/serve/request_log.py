"""Outermost layer of the service: measures, counts and logs each request, as one line of JSON.

An exception becomes a 500. A request that is canceled because the service stops becomes a 503.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fmnist_runtime.serve.responses import INTERNAL_ERROR, JsonLine, busy, error_response

__all__ = ["JsonFormatter", "RequestLog", "log_event"]

_log = logging.getLogger("fmnist_runtime.serve")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``event``, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line in ASCII, because a name may contain characters that the log's encoding lacks."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Logs an event with its fields."""
    _log.log(level, event, extra={"fields": fields})


class RequestLog:
    """ASGI middleware.

    A line contains method, route, status, bytes, seconds and an id, which is also the response's ``X-Request-Id``. It contains
    no address, no file name, no answer and no part of an image.
    """

    def __init__(
        self, app: ASGIApp, routes: set[str], count: Callable[[str, int, float], None], *, log_requests: bool
    ) -> None:
        """Wraps an application.

        Args:
            app: The application.
            routes: Known paths; all others are logged and counted as ``other``.
            count: Called with route, status and seconds of each request.
            log_requests: Whether each request is logged.
        """
        self._app = app
        self._routes = routes
        self._count = count
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, request_id = time.perf_counter(), 0, f"{random.getrandbits(64):016x}"

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not status:
                await error_response(busy("the service stops; try again"))(scope, receive, send_with_id)
        except Exception:
            _log.exception("fault", extra={"fields": {"id": request_id}})
            if not status:
                await JsonLine(INTERNAL_ERROR, 500)(scope, receive, send_with_id)
        finally:
            self._report(scope, request_id, status, time.perf_counter() - started)

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # Only known paths become label values of the metrics: clients choose paths, and the number of labels must be bounded.
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._count(route, status, seconds)
        if self._log_requests:
            fields = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 5)}
            log_event("request", id=request_id, **fields, **scope.get("fmnist", {}))
