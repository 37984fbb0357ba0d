"""The outermost layer: every request is timed, counted and logged as one JSON line; a fault becomes a clean 500.

A request that is cancelled, because the service has to stop, becomes a clean 503.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["FAULT", "JsonLine", "JsonLines", "Watched", "busy", "log", "say"]

FAULT = {"error": "internal error"}
log = logging.getLogger("fmnist_runtime.serve")


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``event``, and what the event brings along."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class JsonLine(JSONResponse):
    """JSON on a line of its own, so that answers can be gathered in a file."""

    def render(self, content: Any) -> bytes:
        """As ``JSONResponse``, and a line break."""
        return super().render(content) + b"\n"


def busy(error: str) -> Response:
    """A 503 that invites to come again."""
    return JsonLine({"error": error}, 503, {"Retry-After": "1"})


def say(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    log.log(level, event, extra={"fields": fields})


class Watched:
    """ASGI middleware.

    The log has no address, no file name, no answer and nothing of a picture: method, route, status, bytes, seconds, and
    an id, which the client finds in the ``X-Request-Id`` header of its answer.
    """

    def __init__(
        self, app: ASGIApp, routes: set[str], count: Callable[[str, int, float], None], *, log_requests: bool
    ) -> None:
        self._app = app
        self._routes = routes
        self._count = count
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, request_id = time.perf_counter(), 0, f"{random.getrandbits(64):016x}"

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            if not status:
                await busy("the service stops; try again")(scope, receive, watched_send)
        except Exception:
            log.exception("fault", extra={"fields": {"id": request_id}})
            if not status:
                await JsonLine(FAULT, 500)(scope, receive, watched_send)
        finally:
            self._report(scope, request_id, status, time.perf_counter() - started)

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # Anybody can ask for any path: only the known ones may become names in the metrics.
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._count(route, status, seconds)
        if self._log_requests:
            fields = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 5)}
            say("request", id=request_id, **fields, **scope.get("fmnist", {}))
