"""Serves under uvicorn until a signal; requests in progress are finished before the end."""

import asyncio
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from fmnist_runtime.errors import ConfigError, reason_of
from fmnist_runtime.serve.app import Service
from fmnist_runtime.serve.protocol import TimeLimitedProtocol
from fmnist_runtime.serve.request_log import JsonFormatter, log_event

__all__ = ["listen", "run"]


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Raises:
        ConfigError: The address belongs to no interface, is not allowed, or is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, UnicodeError) as error:  # UnicodeError: the name is not a valid host name
        reason = reason_of(error).partition(" (while attempting")[0]  # Python repeats the address
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}") from error


def run(service: Service, sock: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; returns after the last request in flight."""
    _log_to_stderr()
    settings = service.settings
    config = uvicorn.Config(
        service.asgi,
        http=TimeLimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # its warnings are about clients, and advise to install libraries
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,  # or uvicorn would read WEB_CONCURRENCY
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    host, port = socket.getnameinfo(sock.getsockname(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    if settings.token is None and not ipaddress.ip_address(host).is_loopback:
        log_event("no token: every client of this address is served; set --token-file", logging.WARNING, address=host)
    part = f"[{host.replace('%', '%25')}]" if ":" in host else host  # the scope of a link-local address (RFC 6874)
    _DrainingServer(config, service, f"http://{part}:{port}").run(sockets=[sock])
    log_event("stopped")


class _DrainingServer(uvicorn.Server):
    """uvicorn's server; after the first signal it serves on for ``drain_seconds`` while ``/readyz`` answers 503."""

    def __init__(self, config: uvicorn.Config, service: Service, url: str) -> None:
        super().__init__(config)
        self._service, self._url = service, url
        service.connections = lambda: len(self.server_state.connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Logs the address as soon as clients are served; from then on, a signal ends the service with code 0."""
        await super().startup(sockets)
        log_event("listening", url=self._url)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles the signals as uvicorn does, but the process then ends with code 0, not by the signal."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts the drain at the first signal, and ends it at the second."""
        first, self._service.ready = self._service.ready, False
        delay = self._service.settings.drain_seconds
        log_event("draining" if first else "stopping", signal=signal.Signals(sig).name)
        if first and delay:
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, delay, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It logs errors of clients, which are in the request log already.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
