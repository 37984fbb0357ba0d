"""uvicorn's HTTP protocol with time limits for slow clients.

uvicorn waits without limit for the rest of a request's head, and for the rest of a body that was refused unread. Here a
head has ``HEAD_SECONDS``. After a refusal, the rest of the body is discarded for ``LINGER_SECONDS``, so that the client can
read the response. Then the connection is closed, as RFC 9112 section 9.6 advises.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_SECONDS", "LINGER_SECONDS", "ImpatientProtocol"]

HEAD_SECONDS = 10.0
"""Seconds for a request's head: far more than any network takes, and little to gain for an attacker."""
LINGER_SECONDS = 5.0
"""Seconds for a client to read a refusal while its body is discarded."""


class ImpatientProtocol(HttpToolsProtocol):
    """Protocol for ``uvicorn.Config(http=...)``."""

    _timer: asyncio.TimerHandle | None = None
    _complete = True

    def connection_made(self, transport: Any) -> None:
        """Starts the time of the first head."""
        super().connection_made(transport)
        self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Starts the time of a head."""
        self._complete = False
        self._arm(HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stops the time of the head."""
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stops the time of a discarded body."""
        self._complete = True
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the time of a body that was refused unread."""
        super().on_response_complete()
        if not self._complete:
            self._arm(LINGER_SECONDS)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
