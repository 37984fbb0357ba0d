"""Ordered parallel map with bounded memory."""

import atexit
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any, TypeVar

from fmnist_runtime.cpus import start_threads

__all__ = ["map_ordered"]

_CHECK_SECONDS = 1.0
"""Seconds between two checks that a thread is still running. A result ends the wait at once."""
_EXIT_SECONDS = 5.0
"""Longest wait for each thread when the process ends: one that waits for its input may never end."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ordered(
    function: Callable[[list[_Item]], list[_Result]],
    items: Iterable[_Item],
    *,
    threads: int,
    chunk: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[_Result]:
    """Calls a function with short lists of items in several threads, and yields the results in the items' order.

    If the system starts fewer threads than requested, only those call the function; if it starts none, the calling thread.

    Args:
        function: Called with up to ``chunk`` items; returns one result for each.
        items: Read no further ahead than two chunks for each thread.
        threads: Largest number of calls at the same time.
        chunk: Largest number of items in a call. The first calls get fewer items, so that the first results come soon and
            a few items are divided among all threads.
        stop: Called where the results end early, as after an error or an interrupt; running calls must then return soon.

    Raises:
        Exception: The first exception of a call, in the items' order.
        MemoryError: A thread ended in a call, or all of them before it.
    """
    jobs: SimpleQueue[_Job | None] = SimpleQueue()
    started = start_threads(lambda: _work(function, jobs), threads) if threads > 1 else []
    items, taken = iter(items), 0
    waiting: deque[_Job] = deque()
    complete = False

    def end_threads(seconds: float | None = None) -> None:
        for job in waiting:
            job.future.cancel()
        for _ in started:
            jobs.put(None)
        if not complete:
            stop()
        for thread in started:
            thread.join(seconds)

    # An iterator that is not read to its end is not closed when the process ends, and Python then ends threads that return
    # from onnxruntime in a way that aborts the process.
    at_exit = partial(end_threads, _EXIT_SECONDS)
    atexit.register(at_exit)
    try:
        while not started and (batch := list(islice(items, chunk))):
            yield from function(batch)
        while batch := list(islice(items, min(chunk, 1 + taken // (4 * threads)))):
            taken += len(batch)
            waiting.append(_submit(jobs, batch))
            if len(waiting) > 2 * len(started):
                yield from _wait(waiting.popleft(), started)
        while waiting:
            yield from _wait(waiting.popleft(), started)
        complete = True
    finally:
        atexit.unregister(at_exit)
        end_threads()


class _Job:
    """A call that a thread makes."""

    def __init__(self, items: list[Any]) -> None:
        from concurrent.futures import Future

        self.items = items
        self.future: Future[list[Any]] = Future()
        self.thread: Thread | None = None
        """The thread that has taken the job."""


def _submit(jobs: "SimpleQueue[_Job | None]", items: list[_Item]) -> _Job:
    job = _Job(items)
    jobs.put(job)
    return job


def _wait(job: _Job, threads: list[Thread]) -> list[Any]:
    """Returns the result of a job.

    Raises:
        MemoryError: No thread can end the job. A thread that gets no memory ends before its first statement, or while it
            reports an error.
        Exception: The exception of the job.
    """
    while True:
        try:
            return job.future.result(_CHECK_SECONDS)
        except TimeoutError:
            lost = not any(thread.is_alive() for thread in ([job.thread] if job.thread else threads))
            if job.future.done():  # it may have ended since the wait did, so the exception need not be its own
                return job.future.result()
            if lost:
                raise MemoryError from None


def _work(function: Callable[[list[_Item]], list[_Result]], jobs: "SimpleQueue[_Job | None]") -> None:
    while job := jobs.get():
        job.thread = current_thread()
        if not job.future.set_running_or_notify_cancel():
            continue
        try:
            job.future.set_result(function(job.items))
        except BaseException as error:  # re-raised by ``result`` in the calling thread
            job.future.set_exception(error)
