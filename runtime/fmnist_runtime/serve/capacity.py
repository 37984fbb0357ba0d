"""Capacity of the service: requests, images and bytes at the same time; and the reading of a body within the limits."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from fmnist_runtime.serve.responses import busy
from fmnist_runtime.serve.settings import RequestLimits

__all__ = ["OVERLOADED", "BodyBuffer", "Capacity", "cancel_on_disconnect"]

_T = TypeVar("_T")
OVERLOADED = "busy: too many requests in progress; try again"
"""The ``error`` of a request over a limit."""


class Capacity:
    """Resources in use, checked against the limits; for use from one event loop.

    Attributes:
        limits: Upper bounds.
        in_flight: Requests whose body has been read and whose response has not been sent.
        pictures: Images of those requests.
        held_bytes: Bytes of all bodies, arriving or in flight.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self.limits = limits
        self.in_flight = 0
        self.pictures = 0
        self.held_bytes = 0

    @property
    def full(self) -> bool:
        """Whether another request would be refused."""
        return self.in_flight >= self.limits.in_flight

    @contextmanager
    def request(self) -> Iterator[None]:
        """Counts one request.

        Raises:
            HTTPException: 503 where the limit is reached.
        """
        if self.full:
            raise busy(OVERLOADED)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def several_pictures(self, count: int) -> Iterator[None]:
        """Counts the images of one request.

        Raises:
            HTTPException: 503 where the limit would be exceeded.
        """
        if self.pictures + count > self.limits.pictures:
            raise busy(OVERLOADED)
        self.pictures += count
        try:
            yield
        finally:
            self.pictures -= count

    @contextmanager
    def body(self) -> Iterator["BodyBuffer"]:
        """Counts the bytes of one body until the context ends."""
        buffer = BodyBuffer(self)
        try:
            yield buffer
        finally:
            self.held_bytes -= buffer.size


@dataclass
class BodyBuffer:
    """Memory of one request's body."""

    capacity: Capacity
    """Counters to which the bytes of this body are added."""
    size: int = 0
    """Bytes read."""

    async def read(self, request: Request) -> bytes:
        """Reads the whole body.

        Raises:
            HTTPException: 400: the stated length is not a number; 408: too slow; 413: too large; 503: over the limit of all
                bodies.
            ClientDisconnect: The client closed the connection before the end.
        """
        limits = self.capacity.limits
        stated = request.headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            raise HTTPException(400, "Content-Length is not a number")
        if len(stated.lstrip("0")) > 18 or int(stated) > limits.body_bytes:  # int() raises for thousands of digits
            raise self._too_large()
        chunks = []
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for chunk in request.stream():
                    self._take(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            message = f"the body did not arrive within {limits.body_seconds:g} s"
            raise HTTPException(408, message, {"Connection": "close"}) from None
        return b"".join(chunks)

    def _take(self, count: int) -> None:
        if self.size + count > self.capacity.limits.body_bytes:
            raise self._too_large()
        if self.capacity.held_bytes + count > self.capacity.limits.held_bytes:
            raise busy(OVERLOADED)
        self.size += count
        self.capacity.held_bytes += count

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self.capacity.limits.body_bytes} bytes")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Awaits the work on a request whose body has been read; cancels it when the client disconnects.

    Raises:
        ClientDisconnect: The client has disconnected.
    """

    async def next_message() -> Message:
        return await request.receive()

    # After the body, the only message that can arrive is the disconnect.
    job, disconnect = asyncio.create_task(work), asyncio.create_task(next_message())
    try:
        await asyncio.wait((job, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        job.cancel()
        disconnect.cancel()
