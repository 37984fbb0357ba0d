"""Progress bar on standard error, for answers that go to a file or another program."""

import sys
import time

__all__ = ["Progress"]

_INTERVAL = 0.1
"""Least time in seconds between two drawings of the bar."""
_WIDTH = 30
"""Width of the bar in characters."""


class Progress:
    """Progress bar of ``total`` steps on a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._begin = time.monotonic()
        self._drawn = self._begin

    def step(self) -> None:
        """Counts one step, and draws the bar at most ten times a second."""
        self._done += 1
        now = time.monotonic()
        if now - self._drawn >= _INTERVAL:
            self._drawn = now
            print(f"\r\x1b[K{self.line(now - self._begin)}", end="", file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """Returns the bar as text.

        Args:
            seconds: Time since the bar was created.
        """
        rate = self._done / max(seconds, 1e-9)
        filled = _WIDTH * min(self._done, self._total) // max(self._total, 1)
        left = max(self._total - self._done, 0) / max(rate, 1e-9)
        return f"[{'#' * filled:<{_WIDTH}}] {self._done:,} of {self._total:,}, {rate:,.0f} a second, {left:.0f} s left"

    def close(self) -> None:
        """Removes the bar from the terminal."""
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
