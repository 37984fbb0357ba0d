"""The request log: one line a request, an answer for every exception, nothing of the request itself."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fmnist_runtime.serve.request_log import JsonFormatter, RequestLog

App = Callable[..., Awaitable[None]]
SCOPE = {"type": "http", "method": "POST", "path": "/classify", "headers": []}


async def answering(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def faulty(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("secret")


async def faulty_later(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("secret")


async def canceled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


def call(app: App, *, log_requests: bool = True, **scope: Any) -> tuple[list[dict[str, Any]], list[tuple[str, int]]]:
    """Returns the messages that were sent, and route and status of each counted request."""
    sent: list[dict[str, Any]] = []
    counted: list[tuple[str, int]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    def count(route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        counted.append((route, status))

    log = RequestLog(app, {"/classify"}, count, log_requests=log_requests)
    asyncio.run(log({**SCOPE, **scope}, receive, send))  # type: ignore[arg-type]
    return sent, counted


@pytest.mark.parametrize(
    ("app", "status", "text"),
    [(answering, 200, b"ok"), (faulty, 500, b"error"), (canceled, 503, b"the service stops")],
)
def test_every_request_has_one_answer_and_one_count(app: App, status: int, text: bytes) -> None:
    (start, *body), counted = call(app)
    assert start["status"] == status and counted == [("/classify", status)]
    assert any(name == b"x-request-id" and len(value) == 16 for name, value in start["headers"])
    assert ((b"retry-after", b"1") in start["headers"]) is (status == 503)
    content = b"".join(part["body"] for part in body)
    assert text in content and b"secret" not in content


def test_a_fault_after_the_start_sends_no_second_one() -> None:
    sent, counted = call(faulty_later)
    assert [message["type"] for message in sent] == ["http.response.start"] and counted == [("/classify", 200)]


def test_paths_of_clients_are_no_routes() -> None:
    assert call(answering, path="/etc/passwd")[1] == [("other", 200)]


def test_other_protocols_pass_uncounted() -> None:
    sent, counted = call(answering, type="websocket")
    assert len(sent) == 2 and counted == []


def test_lines_are_json_with_the_traceback_of_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fmnist_runtime.serve"):
        call(faulty)
        call(answering, log_requests=False)
    fault, request = (json.loads(JsonFormatter().format(record)) for record in caplog.records)
    assert fault["event"] == "fault" and fault["level"] == "error" and "RuntimeError: secret" in fault["traceback"]
    assert request["event"] == "request" and request["id"] == fault["id"]
    assert (request["method"], request["route"], request["status"]) == ("POST", "/classify", 500)
    assert "traceback" not in request
