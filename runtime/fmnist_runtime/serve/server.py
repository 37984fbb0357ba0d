"""Run the service under uvicorn until it is told to stop, and then without dropping anybody."""

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

from fmnist_runtime.errors import ConfigError
from fmnist_runtime.serve.app import Service
from fmnist_runtime.serve.protocol import ImpatientProtocol
from fmnist_runtime.serve.watch import JsonLines, say

__all__ = ["listen", "run"]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the address is not ours, not allowed, or in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while attempting")[0]  # Python adds the address, said already
        raise ConfigError(f"cannot listen on {host}, port {port}: {why}") from error


def run(service: Service, sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; returns when the last request in flight has been answered."""
    _log_to_stderr()
    settings = service.settings
    config = uvicorn.Config(
        service.asgi,
        http=ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    host, port = sock.getsockname()[:2]
    if settings.token is None and not ipaddress.ip_address(host).is_loopback:
        say("anyone who reaches this address may use it: set --token-file", logging.WARNING, address=host)
    say("listening", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    _DrainingServer(config, service).run(sockets=[sock])
    say("stopped")


class _DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        service.connections = lambda: len(self.server_state.connections)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the process then ends with code 0, not by the signal: it did what it was told."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts the drain, a second one cuts it short."""
        first, self._service.ready = self._service.ready, False
        delay = self._service.settings.drain_seconds
        say("draining" if first else "stopping", signal=signal.Signals(sig).name)
        if first and delay:
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, delay, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it reports what clients do wrong; so do we
