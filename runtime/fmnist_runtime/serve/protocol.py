"""uvicorn's HTTP protocol with time limits for slow clients, and corrected for pipelined requests and offered upgrades.

uvicorn waits without limit for the rest of a request's head, for the rest of a body that was refused unread, and for a client
that does not read its response. Here a head may take ``HEAD_SECONDS``, and have ``HEAD_BYTES`` and ``HEAD_LINES``. After a
refusal, the rest of what the client sends is read and discarded for ``LINGER_SECONDS``, so that the client can read the
response. Then the connection is closed, as RFC 9112 section 9.6 advises. uvicorn closes at once what is not kept alive, and the
client, which still sends, gets a reset in place of the response. A response may take ``SEND_SECONDS``.

When a client disconnects, uvicorn ends the newest request of the connection. Here the one that is being answered ends, too.

Java's ``HttpClient`` and ``curl --http2`` offer HTTP/2 by ``Upgrade``, which a server may ignore (RFC 9110 section 7.8).
httptools then reads no body, and uvicorn would answer as if it were empty. Here such a request is parsed without that header.
"""

import asyncio
import sys
from collections import deque
from typing import Any, cast

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = [
    "HEAD_BYTES",
    "HEAD_LINES",
    "HEAD_SECONDS",
    "LINGER_SECONDS",
    "MOST_CHUNKS",
    "MOST_CONNECTIONS",
    "SEND_SECONDS",
    "TimeLimitedProtocol",
]

HEAD_SECONDS = 10.0
"""Longest time for a request's head, in seconds: far more than any network needs; it limits idle connections."""
HEAD_BYTES = 1 << 16
"""Largest request head in bytes, up to one more ``_PIECE``: browsers send some kilobytes. Without a limit, clients could fill
the memory before a token is checked. The same limit holds for what a chunked body contains besides its data at one place: the
trailers after it, and extensions of a chunk."""
HEAD_LINES = 100
"""Largest number of header lines, with trailers, as in Apache httpd: each takes some hundred bytes, however short it is."""
MOST_CHUNKS = 100_000
"""Largest number of chunks of a body: each takes a microsecond of the event loop, however small it is. The largest body by
default, 16 MiB, has chunks of 168 bytes then."""
MOST_CONNECTIONS = 2000
"""Largest number of open connections; further ones are closed at once. Far fewer are answered, see ``Limits.connections``, but
a head is needed for that, and so many heads without an end take 130 MB."""
_PIECE = 1 << 14
"""Bytes parsed at a time, between two checks of the limits; asyncio receives up to 256 KiB at once."""
LINGER_SECONDS = 5.0
"""Time in seconds for a client to read a refusal, while the rest of what it sends is discarded."""
SEND_SECONDS = 120.0
"""Longest time for a client to read a response, in seconds: the page's largest file, 0.5 MB, at 32 kbit/s."""
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY_CHUNKS = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_INVALID = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _TransportOfResponse:
    """The transport as a response of uvicorn sees it, which closes it at its end unless the connection is kept alive."""

    def __init__(self, protocol: "TimeLimitedProtocol") -> None:
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)

    def close(self) -> None:
        """Closes the connection; waits for the client first, if its body was refused unread."""
        self._protocol.close_after_response()


class TimeLimitedProtocol(HttpToolsProtocol):
    """Protocol for ``uvicorn.Config(http=...)``."""

    _timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _complete = True
    _in_head = False
    _discarding = False
    _refusal = b""
    _bytes_without_body = 0
    _chunks = 0

    def connection_made(self, transport: Any) -> None:
        """Starts the timer of the first head; closes connections over ``MOST_CONNECTIONS``."""
        super().connection_made(transport)
        self._unanswered: deque[Any] = deque()
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._start_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers, and ends all requests."""
        self._stop_timer()
        self._stop_send_timer()
        for cycle in self._unanswered:
            _end(cycle)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses received bytes; refuses more than ``HEAD_BYTES`` without data of a body."""
        unparsed: Any = memoryview(data)
        while unparsed and not self._discarding and not self.transport.is_closing():
            piece = unparsed[:_PIECE]
            self._parsed_bytes = len(piece)
            super().data_received(piece)
            unparsed = unparsed[self._parsed_bytes :]
            self._bytes_without_body += self._parsed_bytes  # may include the end of a body, at most one piece
            if self._bytes_without_body > HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)
        if self._complete and not self._unanswered and self._timer is None:  # only empty lines, which begin no head
            self._start_timer(HEAD_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuses more than ``HEAD_LINES``."""
        super().on_header(name, value)
        if len(self.headers) > HEAD_LINES:
            self._refuse(_HEAD_TOO_LARGE)

    def on_chunk_header(self) -> None:
        """Refuses more than ``MOST_CHUNKS``."""
        self._chunks += 1
        if self._chunks > MOST_CHUNKS:
            self._refuse(_TOO_MANY_CHUNKS)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP."""
        self._refuse(_INVALID)

    def _refuse(self, response: bytes) -> None:
        if not self._discarding and not self.transport.is_closing():
            self._discarding, self._refusal = True, response
            self._stop_timer()
            for cycle in self._unanswered:
                if cycle.more_body:
                    _end(cycle)
            self._send_refusal()

    def _send_refusal(self) -> None:
        """Sends a refusal in its turn: after the responses to the requests that were received before it."""
        if self._refusal and all(cycle.disconnected for cycle in self._unanswered):
            self.transport.write(self._refusal)
            self._refusal = b""
            self._linger()

    def close_after_response(self) -> None:
        """Closes the connection; if the newest request was answered before its end, only for sending."""
        if self._is_answered_early() and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _is_answered_early(self) -> bool:
        """Returns whether the newest request was answered before the end of its body."""
        return not self._complete and not self._in_head and bool(self.cycle.response_complete)

    def _linger(self) -> None:
        """Ends the connection for sending, and discards what comes until the client ends it, for ``LINGER_SECONDS``."""
        self._discarding = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._start_timer(LINGER_SECONDS)

    def _should_upgrade(self) -> bool:
        """Returns whether uvicorn leaves a request to ``handle_websocket_upgrade``."""
        return any(name == b"upgrade" for name, _ in self.headers)

    def handle_websocket_upgrade(self) -> None:
        """Parses a request again without ``Upgrade``; uvicorn calls this in the handler of the parser's exception."""
        error = sys.exception()
        assert isinstance(error, HttpParserUpgrade)
        self._parsed_bytes = error.args[0]  # up to the end of the head
        method, version = self.scope["method"].encode(), self.scope["http_version"].encode()
        headers = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        super().data_received(b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(headers)))

    def on_message_begin(self) -> None:
        """Starts the timer of a head."""
        self._complete, self._in_head, self._bytes_without_body, self._chunks = False, True, 0, 0
        self._start_timer(HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stops the timer of the head, and starts the count of bytes that are no data of a body."""
        self._in_head, self._bytes_without_body = False, 0
        self._stop_timer()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = cast(asyncio.Transport, _TransportOfResponse(self))
            self._unanswered.append(self.cycle)
            if self._discarding:  # refused by a header of this head
                _end(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Starts the count of bytes that are no data of a body."""
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stops the timer of a discarded body."""
        self._complete = True
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the timer of a body that was refused unread."""
        self._unanswered.popleft()
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._is_answered_early():
            self._start_timer(LINGER_SECONDS)
        self._send_refusal()

    def pause_writing(self) -> None:
        """Starts the timer of a response that its client does not read."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the timer of a response."""
        super().resume_writing()
        self._stop_send_timer()

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _end(cycle: Any) -> None:
    """Ends a request as if its client had disconnected."""
    cycle.disconnected = True
    cycle.message_event.set()
