"""Take a request's body in, within the limits: refused as early as can be, and never more in memory than allowed."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from fmnist_runtime.serve.settings import Limits

__all__ = ["BUSY", "Lease", "Room", "while_there"]

_T = TypeVar("_T")
BUSY = "busy: too much is being answered already; try again"


def _busy() -> HTTPException:
    return HTTPException(503, BUSY, {"Retry-After": "1"})


class Room:
    """How much is being done right now, of what the limits allow; to be used from one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_flight = 0
        self.pictures = 0
        self.held_bytes = 0

    @property
    def full(self) -> bool:
        """Whether another request would be refused."""
        return self.in_flight >= self.limits.in_flight

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One request being answered.

        Raises:
            HTTPException: 503, there are as many as may be.
        """
        if self.full:
            raise _busy()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def shelf(self, pictures: int) -> Iterator[None]:
        """So many pictures being answered.

        Raises:
            HTTPException: 503, there would be more than may be.
        """
        if self.pictures + pictures > self.limits.pictures:
            raise _busy()
        self.pictures += pictures
        try:
            yield
        finally:
            self.pictures -= pictures

    @contextmanager
    def lease(self) -> Iterator["Lease"]:
        """Memory for one request's body, given back in the end."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self.held_bytes -= lease.taken


@dataclass
class Lease:
    """The part of the room that one body takes."""

    room: Room
    taken: int = 0

    async def read(self, request: Request) -> bytes:
        """The whole body.

        Raises:
            HTTPException: 400 for a length that is no number, 408 too slow, 413 too large, 503 no memory for it now.
            ClientDisconnect: the client went away before the end.
        """
        limits = self.room.limits
        stated = request.headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            raise HTTPException(400, "Content-Length is no number")
        if int(stated) > limits.body_bytes:
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
        if self.taken + count > self.room.limits.body_bytes:
            raise self._too_large()
        if self.room.held_bytes + count > self.room.limits.held_bytes:
            raise _busy()
        self.taken += count
        self.room.held_bytes += count

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self.room.limits.body_bytes} bytes")


async def while_there(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Wait for the work on a request that has come whole; cancel it when the client goes away.

    Raises:
        ClientDisconnect: it has.
    """
    # All that can still be received is that the client has gone.
    job, gone = asyncio.create_task(work), asyncio.create_task(request.receive())
    try:
        await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        job.cancel()
        gone.cancel()
