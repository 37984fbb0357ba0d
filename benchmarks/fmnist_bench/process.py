"""Client of a contestant's process: starts it, sends requests and receives replies. ``worker`` runs in that process."""

import contextlib
import json
import subprocess
import sys
from typing import Any, Self

__all__ = ["ContestantProcess"]


class ContestantProcess:
    """A running contestant, which replies to each request by one line of JSON; a context manager that ends the process."""

    def __init__(self, *arguments: str) -> None:
        """Starts ``python -m fmnist_bench.worker`` with these arguments."""
        command = [sys.executable, "-m", "fmnist_bench.worker", *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None:  # as after SIGTERM: a conversion may take minutes
            self._process.kill()
        self._process.communicate()

    def reply(self) -> Any:
        """Returns the next reply, or ``{"missing": reason}`` where the process has ended without one."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # cut off, because the process was killed
                return json.loads(line)
        return {"missing": f"its process ended with code {self._process.wait()}"}

    def request(self, **request: Any) -> Any:
        """Sends one request and returns its reply; see ``reply`` for a process that has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self.reply()
