"""Very many pictures: worker processes, each with a classifier of its own, because threads share one interpreter's lock.

Each process is started afresh (never forked from one that runs threads), gets a few pictures at a time, and sends answers
back; this process only hands out and gathers, and loads neither numpy nor a model.
"""

import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

from fmnist_runtime.batching.ordered_map import Answer, in_order, name_outcomes, readable
from fmnist_runtime.batching.worker_process import error, receive, send, unpack
from fmnist_runtime.errors import FmnistError, ImageError
from fmnist_runtime.image_io.sources import Source, expand
from fmnist_runtime.prediction import Outcome

__all__ = ["Workers", "classify_in_processes"]

_CHUNK = 64
"""The most pictures that a process is asked for at a time, and classifies in one call of the model."""
_PATIENCE = 5.0
"""Seconds that a process may take to end once it has closed its output."""
_START_SECONDS = 120.0
"""Seconds that a process may take to load the model, where calls have a limit."""
_COMMAND = "import sys; sys.path[:] = {path}; from fmnist_runtime.batching.worker_process import main; main()"
_log = logging.getLogger(__name__)


def classify_in_processes(
    sources: Iterable[str], processes: int, *, load: dict[str, Any], options: dict[str, Any]
) -> Iterator[Answer]:
    """As ``stream.classify_all``, with several processes, and with their promise: see ``Workers``.

    Args:
        sources: paths; a folder means all pictures below it.
        processes: how many.
        load: the arguments of ``Classifier.load``, plain values only.
        options: ``top_k``, ``reject`` and ``show`` of ``classify_all``; ``show`` as text or None.

    Raises:
        FmnistError: what ``Classifier.load`` raises, or the processes cannot be started.
    """
    with Workers(processes, load) as workers:

        def classify(chunk: list[Source]) -> list[Answer]:
            return name_outcomes(chunk, workers.answer(readable(chunk), **options))

        yield from in_order(classify, expand(sources), threads=processes, chunk=_CHUNK, stop=workers.close)


class Workers:
    """Some processes, to be asked from any number of threads; as a context manager, ended at the end.

    One that dies (the system kills one where memory runs out, a decoder may crash) or hangs is replaced, and its pictures
    are tried again one by one: the one that its process dies of even then comes to an ``ImageError``.
    """

    def __init__(
        self, count: int, load: dict[str, Any], *, checked: bool = False, seconds: float | None = None
    ) -> None:
        """Each process starts when it is first needed.

        Args:
            count: how many.
            load: the arguments of ``Classifier.load``, plain values only.
            checked: whether each replays the model's self-test, and is refused where that fails.
            seconds: a process that takes longer for a call hangs, and is killed; None: there is no limit.
        """
        self._large = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        lock = self._large.fileno() if os.name == "posix" else None
        self._all = [_Worker((load, checked, lock), seconds) for _ in range(count)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._closing = threading.Event()
        if seconds is not None:
            threading.Thread(target=self._watch, args=(seconds / 20,), daemon=True).start()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> list[str]:
        """Start them all, wait until they have loaded the model, and return its labels.

        Raises:
            FmnistError: what ``Classifier.load`` raises, or the processes cannot be started.
        """
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(self._all)) as threads:
            list(threads.map(_Worker.start, self._all))
        return self._all[0].labels

    def answer(self, pictures: Sequence[bytes | str], **options: Any) -> list[Outcome]:
        """As ``batch.answer_batch``, in the next process that is free; the options are plain values.

        Raises:
            FmnistError: what ``answer_batch`` or ``start`` raises.
        """
        if not pictures:
            return []
        worker = self._idle.get()
        try:
            return worker.ask(list(pictures), options)
        finally:
            self._idle.put(worker)

    @property
    def replaced(self) -> int:
        """How many have died, or were killed because they hung, since the beginning."""
        return sum(worker.deaths for worker in self._all)

    def _watch(self, interval: float) -> None:
        while not self._closing.wait(interval):
            for worker in self._all:
                worker.kill_if_late()

    def close(self) -> None:
        """Kill them; calls that still go on come back soon."""
        self._closing.set()
        for worker in self._all:
            worker.close()
        self._large.close()


class _Worker:
    """One process; whoever asks after it has died gets another."""

    def __init__(self, setup: tuple, seconds: float | None) -> None:
        self._setup, self._seconds = setup, seconds
        self._due, self._late, self.deaths = math.inf, False, 0
        self._guard, self._closed = threading.Lock(), False
        self._process: subprocess.Popen[bytes] | None = None
        self.labels: list[str] = []

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the process, hand over the settings, and wait until it has loaded the model."""
        with self._guard:
            if self._closed:
                raise FmnistError("interrupted")
            process = self._process = _spawn(self._setup[-1])
        try:
            greeting = self._exchange(process, self._setup, _START_SECONDS)
        except (EOFError, OSError, ValueError) as reason:  # ValueError: closed, because all is coming to its end
            how = self._end(_PATIENCE)
            raise FmnistError(f"a worker process {how} at its start; --workers 1 does without") from reason
        if isinstance(greeting, dict):
            self._end(_PATIENCE)
            raise error(**greeting)
        self.labels = greeting
        return process

    def ask(self, pictures: list[bytes | str], options: dict[str, Any], *, again: bool = False) -> list[Outcome]:
        """What each picture came to.

        Args:
            pictures: files' bytes, or their paths.
            options: of ``batch.answer_batch``.
            again: a process has died of this picture, or of one among which it was.

        Raises:
            FmnistError: the process, or its model, cannot work at all.
        """
        process = self._process or self.start()
        try:
            reply = self._exchange(process, (pictures, options), self._seconds)
        except (EOFError, OSError, ValueError):
            how = self._end(_PATIENCE)
            if self._closed:
                raise FmnistError("interrupted") from None
            self.deaths += 1
            if self._late:
                how = f"took longer than {self._seconds:g} s"
            _log.info("a worker process %s; another takes its place", how)
            if again:
                return [ImageError(f"the process that read it {how}")]
            return [outcome for picture in pictures for outcome in self.ask([picture], options, again=True)]
        if isinstance(reply, dict):
            raise error(**reply)
        return unpack(reply)

    def _exchange(self, process: "subprocess.Popen[bytes]", message: Any, seconds: float | None) -> Any:
        """Send a message and wait for its answer, at most so many seconds where anybody calls ``kill_if_late``."""
        self._late = False
        self._due = math.inf if seconds is None else time.monotonic() + seconds
        try:
            send(process.stdin, message)
            return receive(process.stdout)
        finally:
            self._due = math.inf

    def kill_if_late(self) -> None:
        """Kill the process if its answer is overdue: whoever waits for that finds it dead."""
        with self._guard:
            if time.monotonic() > self._due and self._process is not None:
                self._late = True
                self._process.kill()

    def close(self) -> None:
        """Kill the process, and start no other."""
        with self._guard:
            self._closed = True
        self._end()

    def _end(self, patience: float = 0) -> str:
        """Wait so many seconds for the process to end, then kill it; return how it ended."""
        with self._guard:
            process, self._process = self._process, None
        if process is None:
            return "was ended"
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


def _spawn(lock: int | None) -> "subprocess.Popen[bytes]":
    # A group of its own: the terminal's Ctrl-C is for this process, which then ends the workers.
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if lock is None else (lock,),
            process_group=0 if os.name == "posix" else None,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as reason:
        raise FmnistError(f"cannot start a worker process: {reason.strerror}; --workers 1 does without") from reason
