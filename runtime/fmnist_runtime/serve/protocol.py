"""uvicorn's HTTP protocol with time limits for slow clients.

uvicorn waits without limit for the rest of a request's head, and for the rest of a body that was refused unread. Here a
head may take ``HEAD_SECONDS`` and have ``HEAD_BYTES``. After a refusal, the rest of the body is read and discarded for
``LINGER_SECONDS``, so that the client can read the response. Then the connection is closed, as RFC 9112 section 9.6 advises.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_BYTES", "HEAD_SECONDS", "LINGER_SECONDS", "TimeLimitedProtocol"]

HEAD_SECONDS = 10.0
"""Longest time for a request's head, in seconds: far more than any network needs; it limits idle connections."""
HEAD_BYTES = 1 << 20
"""Largest request head in bytes: browsers send some kilobytes. Without a limit, a client could fill the memory."""
LINGER_SECONDS = 5.0
"""Time in seconds for a client to read a refusal, while the rest of its body is discarded."""
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TimeLimitedProtocol(HttpToolsProtocol):
    """Protocol for ``uvicorn.Config(http=...)``."""

    _timer: asyncio.TimerHandle | None = None
    _complete = True
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Starts the timer of the first head."""
        super().connection_made(transport)
        self._start_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses received bytes; refuses a head of more than ``HEAD_BYTES``."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)  # may include the end of the previous body, at most one received block
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Starts the timer of a head."""
        self._complete, self._in_head, self._head_bytes = False, True, 0
        self._start_timer(HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stops the timer of the head."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stops the timer of a discarded body."""
        self._complete = True
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the timer of a body that was refused unread."""
        super().on_response_complete()
        if not self._complete:
            self._start_timer(LINGER_SECONDS)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
