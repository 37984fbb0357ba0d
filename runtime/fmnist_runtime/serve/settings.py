"""What may be set, with its defaults; the limits say how a request is refused."""

from dataclasses import dataclass, field
from pathlib import Path

from fmnist_runtime.errors import ConfigError

__all__ = ["Limits", "Settings", "read_token"]

_MIN_TOKEN = 16


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    body_bytes: int = 16 << 20
    """Of one request's body; more is answered with 413."""
    files: int = 32
    """Pictures in one request; more is answered with 413."""
    pixels: int = 50_000_000
    """Of one picture, by its header, before anything is decoded; more is answered with 422."""
    body_seconds: float = 20.0
    """From the first header to the last byte of the body; slower is answered with 408."""
    in_flight: int = 256
    """Requests that are being answered; one more is answered with 503."""
    pictures: int = 1024
    """Pictures of those requests; more are answered with 503."""
    answer_seconds: float = 120.0
    """From the last byte of the body to the answer, else it is 503; a third is what a worker has for a call."""
    held_bytes: int = 256 << 20
    """Of all bodies together, arriving or being answered; more is answered with 503."""
    connections: int = 1000
    """Open connections; a request on one more is answered with 503."""

    @property
    def work_seconds(self) -> float:
        """A worker that takes longer for a call hangs: a third, so that there is time to try its pictures again."""
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
    """How the service runs."""

    token: str | None = None
    """What ``Authorization: Bearer`` must carry for /classify and /metrics; None: anyone may."""
    workers: int = 1
    """Processes that decode and classify, beside the one of the event loop; 1: none, but a thread of that one."""
    drain_seconds: float = 0.0
    """From SIGTERM on, answer as ever but say not ready for so long, then stop listening."""
    grace_seconds: float = 30.0
    """After that, how long requests in flight may take to end."""
    log_requests: bool = True
    limits: Limits = field(default_factory=Limits)


def read_token(path: Path) -> str:
    """The bearer token in a file, without surrounding white space.

    Raises:
        ConfigError: unreadable, too short to be a secret, or with characters that no header can carry.
    """
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no token can be read: {error}") from error
    if len(token) < _MIN_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: a token is one word of at least {_MIN_TOKEN} characters: openssl rand -hex 32 makes one"
        )
    return token
