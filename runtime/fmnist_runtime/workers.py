"""Very many pictures: worker processes, each with a classifier of its own, because threads share one interpreter's lock.

Each process is started afresh (never forked from one that runs threads), gets a few names at a time, and sends answers back;
this process only lists, asks and prints, and loads neither numpy nor a model.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any

from fmnist_runtime import errors
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.folders import Source, expand
from fmnist_runtime.order import Answer, in_order
from fmnist_runtime.worker import receive, send, unpack

__all__ = ["classify_in_processes"]

_CHUNK = 64
"""The most pictures that a process is asked for at a time, and classifies in one call of the model."""
_PATIENCE = 5.0
"""Seconds that a process may take to end once it has closed its output."""
_COMMAND = "import sys; sys.path[:] = {path}; from fmnist_runtime.worker import main; main()"


def classify_in_processes(
    sources: Iterable[str], processes: int, *, load: dict[str, Any], options: dict[str, Any]
) -> Iterator[Answer]:
    """As ``stream.classify_all``, with several processes.

    A process that dies (the system kills one where memory runs out, a decoder may crash) is replaced, and its pictures are
    tried again one by one: the one that it dies of becomes an ``Answer`` with an error.

    Args:
        sources: paths; a folder means all pictures below it.
        processes: how many.
        load: the arguments of ``Classifier.load``, plain values only.
        options: ``top_k``, ``reject`` and ``show`` of ``classify_all``; ``show`` as text or None.

    Raises:
        FmnistError: what ``Classifier.load`` raises, or the processes cannot be started.
    """
    with tempfile.TemporaryFile() as lock, contextlib.ExitStack() as stack:
        descriptor = lock.fileno() if os.name == "posix" else None
        workers = [stack.enter_context(_Worker((load, options, descriptor))) for _ in range(processes)]
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def classify(chunk: list[Source]) -> list[Answer]:
            worker = idle.get()
            try:
                return worker.classify(chunk)
            finally:
                idle.put(worker)

        yield from in_order(classify, expand(sources), threads=processes, chunk=_CHUNK, stop=stack.close)


class _Worker:
    """One process, replaced when it dies; as a context manager, killed at the end."""

    def __init__(self, setup: tuple) -> None:
        self._setup = setup
        self._lock, self._closed = threading.Lock(), False
        self._start()

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._closed = True
            self._end()

    def classify(self, chunk: list[Source]) -> list[Answer]:
        """The answers for some pictures.

        Raises:
            FmnistError: the process cannot work at all.
        """
        try:
            if not self._ready:
                self._greet()
            send(self._process.stdin, [tuple(source) for source in chunk])
            reply = receive(self._process.stdout)
        except FmnistError:
            raise
        except (EOFError, OSError, ValueError):  # ValueError: closed, because all is coming to its end
            how = self._replace()
            if len(chunk) == 1:
                return [Answer(chunk[0].name, None, f"the process that read it {how}")]
            return [answer for source in chunk for answer in self.classify([source])]
        if isinstance(reply, tuple):
            raise _error(*reply)
        return unpack(reply)

    def _start(self) -> None:
        # A group of its own: the terminal's Ctrl-C is for this process, which then ends the workers.
        lock = self._setup[-1]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=() if lock is None else (lock,),
                process_group=0 if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise FmnistError(f"cannot start a worker process: {error.strerror}; --workers 1 does without") from error
        self._ready = False

    def _greet(self) -> None:
        """Hand over the settings, and wait until the model is loaded."""
        try:
            send(self._process.stdin, self._setup)
            refusal = receive(self._process.stdout)
        except (EOFError, OSError) as error:
            if self._closed:
                raise
            raise FmnistError(
                f"a worker process {self._end(_PATIENCE)} at its start; --workers 1 does without"
            ) from error
        if refusal is not None:
            raise _error(*refusal)
        self._ready = True

    def _replace(self) -> str:
        """Start another process; return how the last one ended."""
        with self._lock:
            if self._closed:
                raise FmnistError("interrupted")
            how = self._end(_PATIENCE)
            self._start()
            return how

    def _end(self, patience: float = 0) -> str:
        """Wait so many seconds for the process to end, then kill it; return how it ended."""
        process = self._process
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        code = process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _error(kind: str, message: str) -> FmnistError:
    return getattr(errors, kind)(message)
