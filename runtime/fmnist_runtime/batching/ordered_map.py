"""Ordered parallel map with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from fmnist_runtime.cpus import start_threads

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["map_ordered"]

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

    Where the system grants fewer threads, those that started do the work; with none, the calling thread does it.

    Args:
        function: Called with up to ``chunk`` items; returns one result for each.
        items: Read no further ahead than two chunks for each thread.
        threads: Largest number of calls at the same time.
        chunk: Largest number of items in a call. The first calls get fewer, so that the first results come soon and a
            few items keep all threads busy.
        stop: Called at the end, also after an error; must make running calls return soon.
    """
    jobs: SimpleQueue[tuple[Future[list[_Result]], list[_Item]] | None] = SimpleQueue()
    started = start_threads(lambda: _work(function, jobs), threads) if threads > 1 else []
    items, taken = iter(items), 0
    waiting: deque[Future[list[_Result]]] = deque()
    try:
        while not started and (some := list(islice(items, chunk))):
            yield from function(some)
        while some := list(islice(items, min(chunk, 1 + taken // (4 * threads)))):
            taken += len(some)
            waiting.append(_submit(jobs, some))
            if len(waiting) > 2 * len(started):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for _ in started:
            jobs.put(None)
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
