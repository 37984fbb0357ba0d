"""Worker processes for large numbers of images, each with its own classifier: threads would share one interpreter lock.

Each process is started as a new program, because forking is not safe in a process with threads. It receives some images at a
time and returns their results. The parent process loads neither numpy nor a model.
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
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from fmnist_runtime.batching.batch import to_answers
from fmnist_runtime.batching.ordered_map import map_ordered
from fmnist_runtime.cpus import NO_THREAD, start_threads
from fmnist_runtime.errors import FmnistError, ImageError, WorkerError
from fmnist_runtime.image_io.sources import Source
from fmnist_runtime.prediction import Answer, PredictionOrError
from fmnist_runtime.workers.process import receive, send, unpack, unpack_error

if TYPE_CHECKING:
    from fmnist_runtime.image_io.comparison_image import ComparisonFolder

__all__ = ["WorkerPool", "classify_in_processes"]

_CHUNK = 64
"""Images in one request to a process: large enough that the cost of the message is small beside the model call."""
_END_SECONDS = 5.0
"""Seconds that a process may take to end after it has closed its output; then it is killed."""
_START_SECONDS = 120.0
"""Seconds for loading the model, in a pool with a time limit: slow devices need several."""
_REPAIR_SECONDS = 2.0
"""Seconds between two attempts to start a process that could not be started again: an attempt takes about half a second."""
_POLL_SECONDS = 0.5
"""Seconds between two checks whether any process can still become idle."""
_COMMAND = "import sys; sys.path[:] = {path}; from fmnist_runtime.workers.process import main; main()"
_ADVICE = "--workers 1 uses no worker process"
_log = logging.getLogger(__name__)


def classify_in_processes(
    sources: Iterable[Source],
    processes: int,
    *,
    load: dict[str, Any],
    options: dict[str, Any],
    on_input: "ComparisonFolder | None" = None,
) -> Generator[Answer, None, None]:
    """Classifies sources in their order, as ``batch.classify_sources``, in several processes; see ``WorkerPool``.

    Args:
        sources: Paths. Standard input is not possible, because worker processes use theirs for messages.
        processes: Number of processes.
        load: Arguments of ``Classifier.load``, plain values only.
        options: See ``WorkerPool.classify``.
        on_input: Folder into which the processes write comparison images. After the last answer it has their first failure.

    Raises:
        FmnistError: What ``Classifier.load`` raises, or the processes cannot be started.
    """
    with WorkerPool(processes, load) as pool:
        classify = partial(pool.classify, **options, show=on_input and on_input.folder)
        yield from map_ordered(
            lambda batch: to_answers(batch, classify), sources, threads=processes, chunk=_CHUNK, stop=pool.close
        )
        if on_input is not None:
            on_input.failure = pool.show_failure


class WorkerPool:
    """Worker processes that any number of threads may call; a context manager that ends the processes.

    A process that dies (out of memory, a crash in a decoder) or hangs is replaced, and its images are tried again one by
    one. If a process dies on a single image, the result of that image is an ``ImageError``.

    In a pool with a time limit, a process that cannot be started again is left out until a later attempt succeeds.

    Args:
        count: Number of processes; each starts at its first request.
        load: Arguments of ``Classifier.load``, plain values only.
        checked: Whether each process runs the model's self-test when it starts; ``start`` raises if it fails.
        seconds: Time limit of a request, after which the process is killed; None: no limit.
    """

    def __init__(
        self, count: int, load: dict[str, Any], *, checked: bool = False, seconds: float | None = None
    ) -> None:
        self._lock_file = _open_lock_file()
        lock = self._lock_file.fileno() if os.name == "posix" else None
        self._all = [_Worker((load, checked, lock), seconds) for _ in range(count)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._broken: list[_Worker] = []
        self._closing = threading.Event()
        self._repairs = seconds is not None
        for job in () if seconds is None else (partial(self._watch, seconds / 20), self._repair):
            if not start_threads(job, 1):
                raise FmnistError(NO_THREAD)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> list[str]:
        """Starts all processes, waits until they have loaded the model, and returns its labels; after an error it closes the pool.

        Raises:
            FmnistError: What ``Classifier.load`` raises, or the processes cannot be started.
        """
        list(map_ordered(_start_all, self._all, threads=len(self._all), chunk=1, stop=self.close))
        return self._all[0].labels

    def classify(self, pictures: Sequence[bytes | str], **options: Any) -> list[PredictionOrError]:
        """Classifies images in the next free process; see ``Classifier.results``.

        Args:
            pictures: Files' bytes or paths.
            **options: ``top_k``, ``reject`` and ``max_pixels`` of ``Classifier.results``, and ``show``, the folder for
                comparison images as text, or None.

        Raises:
            WorkerError: A process died, and cannot be started again.
            FmnistError: What ``start`` raises, or the model call failed.
        """
        if not pictures:
            return []
        worker = self._next_idle()
        try:
            return worker.classify(list(pictures), options)
        finally:
            self._put_back(worker)

    def _next_idle(self) -> "_Worker":
        """Waits for an idle process.

        Raises:
            WorkerError: No process can be started.
        """
        while True:
            try:
                return self._idle.get(timeout=_POLL_SECONDS if self._repairs else None)
            except Empty:
                if not self.available:
                    raise WorkerError("no worker process can be started") from None

    def _put_back(self, worker: "_Worker") -> None:
        if worker.failure is None or not self._repairs or self._closing.is_set():
            self._idle.put(worker)
            return
        _log.error("a worker process cannot be started: %s", worker.failure)
        self._broken.append(worker)

    @property
    def available(self) -> bool:
        """Whether at least one process runs or may be started."""
        return len(self._broken) < len(self._all)

    @property
    def replaced(self) -> int:
        """Number of processes that have died or were killed because they hung."""
        return sum(worker.deaths for worker in self._all)

    @property
    def show_failure(self) -> Exception | None:
        """Why a process could not write a comparison image; None without a failure."""
        return next((worker.show_failure for worker in self._all if worker.show_failure is not None), None)

    def _watch(self, interval: float) -> None:
        while not self._closing.wait(interval):
            for worker in self._all:
                worker.kill_if_late()

    def _repair(self) -> None:
        while not self._closing.wait(_REPAIR_SECONDS):
            for worker in list(self._broken):
                with contextlib.suppress(FmnistError):
                    worker.start()
                    self._broken.remove(worker)
                    self._idle.put(worker)
                    _log.info("a worker process was started again")

    def close(self) -> None:
        """Kills the processes; calls in progress return soon."""
        self._closing.set()
        for worker in self._all:
            worker.close()
        self._lock_file.close()


def _start_all(workers: list["_Worker"]) -> list["subprocess.Popen[bytes]"]:
    return [worker.start() for worker in workers]


class _Worker:
    """One worker process; after it has died, the next request starts another one."""

    def __init__(self, setup: tuple[dict[str, Any], bool, int | None], seconds: float | None) -> None:
        self._setup, self._seconds = setup, seconds
        self._due, self._late, self.deaths = math.inf, False, 0
        self._lock, self._closed = threading.Lock(), False
        self._process: subprocess.Popen[bytes] | None = None
        self.labels: list[str] = []
        self.failure: FmnistError | None = None
        self.show_failure: Exception | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the process, sends the settings, and waits until it has loaded the model.

        Raises:
            WorkerError: The process ran before, and cannot be started again.
            FmnistError: What ``Classifier.load`` raises, or the process cannot be started.
        """
        try:
            process = self._start()
        except FmnistError as error:
            self.failure = error
            if not self.labels:
                raise
            raise WorkerError(str(error)) from error
        self.failure = None
        return process

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._closed:
                raise FmnistError("interrupted")
            process = self._process = _spawn(self._setup[-1])
        try:
            greeting = self._exchange(process, self._setup, _START_SECONDS)
        except (EOFError, OSError, ValueError) as reason:  # ValueError: a closed pipe, because the pool is closing
            how = self._end(_END_SECONDS)
            raise FmnistError(f"a worker process {how} at its start; {_ADVICE}") from reason
        if isinstance(greeting, dict):
            self._end(_END_SECONDS)
            raise unpack_error(**greeting)
        self.labels = greeting
        return process

    def classify(
        self, pictures: list[bytes | str], options: dict[str, Any], *, again: bool = False
    ) -> list[PredictionOrError]:
        """Returns one result for each image; see ``WorkerPool.classify``.

        Args:
            pictures: Files' bytes or paths.
            options: See ``WorkerPool.classify``.
            again: Whether this call retries a single image whose batch crashed a process.

        Raises:
            FmnistError: The process cannot be started, or the model call failed.
        """
        process = self._process or self.start()
        try:
            reply = self._exchange(process, (pictures, options), self._seconds)
        except (EOFError, OSError, ValueError):
            how = self._end(_END_SECONDS)
            if self._closed:
                raise FmnistError("interrupted") from None
            self.deaths += 1
            if self._late:
                how = f"took longer than {self._seconds:g} s"
            _log.info("a worker process %s; another takes its place", how)
            if again:
                return [ImageError(f"the process that read it {how}")]
            return [result for picture in pictures for result in self.classify([picture], options, again=True)]
        if isinstance(reply, dict):
            raise unpack_error(**reply)
        results, failure = reply
        if failure is not None:
            self.show_failure = unpack_error(**failure)
        return unpack(results)

    def _exchange(self, process: "subprocess.Popen[bytes]", message: Any, seconds: float | None) -> Any:
        """Sends a message and waits for the reply; ``kill_if_late`` ends the wait after ``seconds``."""
        self._late = False
        self._due = math.inf if seconds is None else time.monotonic() + seconds
        try:
            send(cast(BinaryIO, process.stdin), message)  # a pipe, see _spawn
            return receive(cast(BinaryIO, process.stdout))
        finally:
            self._due = math.inf

    def kill_if_late(self) -> None:
        """Kills the process if its reply is overdue; the waiting thread then finds it dead."""
        with self._lock:
            if time.monotonic() > self._due and self._process is not None:
                self._late = True
                self._process.kill()

    def close(self) -> None:
        """Kills the process, and starts no other."""
        with self._lock:
            self._closed = True
        self._end()

    def _end(self, seconds: float = 0) -> str:
        """Waits for the process to end, then kills it; returns how it ended."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return "was ended"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                cast(BinaryIO, pipe).close()
        code = process.returncode
        return f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"


def _signal_name(number: int) -> str:
    """Returns a signal's name; Python has none for most real-time signals."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _open_lock_file() -> IO[bytes]:
    """Opens an empty file for ``FileLock``: in memory where the system can, so that no folder need be writable."""
    try:
        return os.fdopen(os.memfd_create("fmnist-lock"), "wb")
    except (AttributeError, OSError):  # no Linux, or a container that forbids it
        return tempfile.TemporaryFile()


def _spawn(lock: int | None) -> "subprocess.Popen[bytes]":
    # In a process group of its own, so that Ctrl-C in the terminal reaches only the parent, which then ends the workers.
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
        raise FmnistError(f"cannot start a worker process: {reason.strerror}; {_ADVICE}") from reason
