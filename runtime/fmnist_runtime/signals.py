"""SIGINT, which Ctrl-C sends, and SIGTERM: both interrupt a command, or end it at once while it has nothing to lose."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["INTERRUPTED", "interrupted_by_signals"]

INTERRUPTED = 130
"""Exit code of an interrupted command, by the convention of shells: 128 and the number of SIGINT."""

_DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Handlers of a process in which neither the parent process nor the caller of the command has set others."""


@contextmanager
def interrupted_by_signals(*, at_once: bool = False) -> Iterator[None]:
    """Raises ``KeyboardInterrupt`` at SIGINT and SIGTERM, unless the parent process or the caller of the command handles them.

    During an import, a signal ends the process instead: libraries replace the exception by others, and Python loses it in
    the callbacks of an import. Standard output is flushed before.

    Args:
        at_once: Whether a signal always ends the process.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: default for number, default in _DEFAULTS.items() if signal.getsignal(number) is default}
    if not in_main_thread or not before:
        yield
        return
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked process inherits this function
            signal.signal(number, _DEFAULTS[number])
            signal.raise_signal(number)
        elif at_once or _is_import(frame):
            _end()
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, default in before.items():
            signal.signal(number, default)


def _is_import(frame: FrameType | None) -> bool:
    """Returns whether a frame belongs to an import, directly or in a call."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib."):
        frame = frame.f_back
    return frame is not None


def _end() -> None:
    with suppress(Exception):  # the signal may have come in the middle of a write
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
