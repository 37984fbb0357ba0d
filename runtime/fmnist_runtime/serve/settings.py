"""Settings of the service, with defaults."""

from dataclasses import dataclass, field
from pathlib import Path

from fmnist_runtime.errors import ConfigError, FileError, reason_of
from fmnist_runtime.files import read_at_most

__all__ = ["RequestLimits", "Settings", "default_top_k", "read_token"]

_MAX_TOKEN = 1 << 16
"""Largest number of bytes read from a token file, more than a header may have. It bounds the memory for an endless device."""
_MIN_TOKEN = 16
"""Smallest length of a token in characters: 16 hexadecimal digits are 64 bits, which cannot be guessed over a network."""


@dataclass(frozen=True)
class RequestLimits:
    """Upper bounds of one request, and of all requests together."""

    body_bytes: int = 16 << 20
    """Bytes of one request's body; a larger one is answered with 413."""
    files: int = 32
    """Images in one request; more are answered with 413."""
    pixels: int = 51_000_000
    """Pixels of one image, read from its header before it is decoded; more are answered with 422. A phone's photo of 50
    megapixels has up to 8,192×6,144, which are 50.3 million."""
    body_seconds: float = 20.0
    """Seconds from the first header to the last byte of the body; a slower one is answered with 408."""
    in_flight: int = 256
    """Requests in flight; one more is answered with 503."""
    pictures: int = 1024
    """Images of the requests in flight; more are answered with 503."""
    answer_seconds: float = 120.0
    """Seconds from the last byte of the body to the response; a later one is replaced by a 503."""
    held_bytes: int = 256 << 20
    """Bytes of all bodies together, arriving or in flight; more are answered with 503."""
    connections: int = 1000
    """Open connections; a request on a further connection is answered with 503."""

    @property
    def work_seconds(self) -> float:
        """Seconds after which a worker's call counts as hanging: a third, which leaves time to retry its images."""
        return self.answer_seconds / 3

    def __post_init__(self) -> None:
        if self.pictures < self.files:
            raise ConfigError(f"all pictures ({self.pictures}) cannot be less than those of one request ({self.files})")
        if self.held_bytes < self.body_bytes:
            raise ConfigError(
                f"all bodies together ({self.held_bytes} bytes) cannot be less than one ({self.body_bytes})"
            )


@dataclass(frozen=True)
class Settings:
    """Settings of one service."""

    token: str | None = None
    """Bearer token required for /classify and /metrics; None: no token is required."""
    workers: int = 1
    """Processes that decode and classify; 1: a thread of the process that serves HTTP does so."""
    drain_seconds: float = 0.0
    """Seconds from SIGTERM until the service stops listening. Until then it serves as before, but /readyz answers 503."""
    grace_seconds: int = 30
    """Seconds for requests in flight to end, once the service has stopped listening."""
    log_requests: bool = True
    """Whether each request is logged."""
    limits: RequestLimits = field(default_factory=RequestLimits)
    """Upper bounds of requests."""


def default_top_k(classes: int) -> int:
    """Returns the number of classes in an answer to a request without ``top_k``: three, or all of a model with fewer."""
    return min(3, classes)


def read_token(path: Path) -> str:
    """Returns the bearer token in a file, without surrounding white space.

    Raises:
        FileError: The file is unreadable, or the token is too short or has characters that a header cannot contain.
    """
    try:
        with path.open("rb") as file:
            token = read_at_most(file, _MAX_TOKEN).decode("utf-8-sig", "replace").strip()
    except OSError as error:
        raise FileError(f"{path}: no token can be read: {reason_of(error)}") from error
    if len(token) < _MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise FileError(
            f"{path}: a token is one word of at least {_MIN_TOKEN} ASCII characters: openssl rand -hex 32 makes one"
        )
    return token
