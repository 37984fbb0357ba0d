"""Ordered parallel map with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from fmnist_runtime.cpus import start_threads

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["map_ordered"]

_CHECK_SECONDS = 1.0
"""Seconds between two checks that a thread is still running. A result ends the wait at once."""
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
        MemoryError: All threads ended before a result was computed.
    """
    jobs: SimpleQueue[tuple[Future[list[_Result]], list[_Item]] | None] = SimpleQueue()
    started = start_threads(lambda: _work(function, jobs), threads) if threads > 1 else []
    items, taken = iter(items), 0
    waiting: deque[Future[list[_Result]]] = deque()
    complete = False
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
        for future in waiting:
            future.cancel()
        for _ in started:
            jobs.put(None)
        if not complete:
            stop()
        for thread in started:
            thread.join()


def _submit(
    jobs: "SimpleQueue[tuple[Future[list[_Result]], list[_Item]] | None]", items: list[_Item]
) -> "Future[list[_Result]]":
    from concurrent.futures import Future

    future: Future[list[_Result]] = Future()
    jobs.put((future, items))
    return future


def _wait(future: "Future[list[_Result]]", threads: list[Thread]) -> list[_Result]:
    """Returns the result of a job.

    Raises:
        MemoryError: All threads ended before the job. A thread that gets no memory ends before its first statement.
        Exception: The exception of the job.
    """
    while True:
        try:
            return future.result(_CHECK_SECONDS)
        except TimeoutError:
            if future.done():  # it may have ended since the wait did, so the exception need not be its own
                return future.result()
            if not any(thread.is_alive() for thread in threads):
                raise MemoryError from None


def _work(
    function: Callable[[list[_Item]], list[_Result]],
    jobs: "SimpleQueue[tuple[Future[list[_Result]], list[_Item]] | None]",
) -> None:
    while job := jobs.get():
        future, items = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(function(items))
        except BaseException as error:  # re-raised by ``result`` in the calling thread
            future.set_exception(error)
