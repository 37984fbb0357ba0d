"""Pictures of many requests, answered in batches, a few at once.

A batch is whatever waits when there is room for another: one picture when it is quiet, up to ``_BATCH`` under load. Nothing
is delayed to fill one up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from fmnist_runtime.prediction import PredictionOrError

__all__ = ["Batcher", "Options"]

_BATCH = 16
_BATCH_BYTES = 1 << 20
"""A batch that has so many takes no more pictures: it is copied on its way to another process."""


class Options(NamedTuple):
    """What a request asks of its pictures, see ``Classifier.results``; a batch holds one kind."""

    top_k: int
    reject: bool
    max_pixels: int


class Batcher:
    """Hands pictures and ``Options`` to ``work``, in ``threads`` calls at once; to be used from one event loop."""

    def __init__(self, work: Callable[..., list[PredictionOrError]], threads: int) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="classify")
        self._idle = threads
        self._waiting: deque[tuple[bytes, Options, asyncio.Future[PredictionOrError]]] = deque()

    async def answer(self, pictures: Sequence[bytes], options: Options) -> list[PredictionOrError]:
        """What each picture came to, in order; if this is cancelled, what has not begun is dropped.

        Raises:
            Exception: the model call itself failed.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[PredictionOrError]] = [loop.create_future() for _ in pictures]
        self._waiting.extend((data, options, future) for data, future in zip(pictures, futures, strict=True))
        self._start()
        try:
            return await asyncio.gather(*futures)
        except asyncio.CancelledError:  # nobody waits for these pictures any more
            self._waiting = deque(one for one in self._waiting if not one[2].done())
            raise

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._idle and self._waiting:
            options = self._waiting[0][1]
            pictures, futures = self._take(options)
            self._idle -= 1
            call = partial(self._work, pictures, **options._asdict())
            job = asyncio.get_running_loop().run_in_executor(self._pool, call)
            job.add_done_callback(partial(self._finish, futures))

    def _take(self, options: Options) -> "tuple[list[bytes], list[asyncio.Future[PredictionOrError]]]":
        """The next pictures, as far as they are asked about in this way."""
        pictures, futures, size = [], [], 0
        while self._waiting and self._waiting[0][1] == options and len(pictures) < _BATCH and size < _BATCH_BYTES:
            data, _, future = self._waiting.popleft()
            pictures.append(data)
            futures.append(future)
            size += len(data)
        return pictures, futures

    def _finish(
        self, futures: "list[asyncio.Future[PredictionOrError]]", job: "asyncio.Future[list[PredictionOrError]]"
    ) -> None:
        self._idle += 1
        failure = job.exception()
        outcomes = job.result() if failure is None else [failure] * len(futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            if not future.done():  # a request that was cancelled waits no more
                future.set_result(outcome)
        self._start()
