"""Pictures of many requests, answered in batches on a few threads.

A batch is whatever waits when a thread becomes free: alone when it is quiet, up to ``_BATCH`` under load. Nothing is
delayed to fill one up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from fmnist_runtime.batch import Outcome

__all__ = ["Batcher", "Options"]

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of its pictures; a batch holds one kind."""

    top_k: int = 3
    reject: bool = True


class Batcher:
    """Hands pictures to ``work`` on ``threads`` threads; to be used from one event loop."""

    def __init__(self, work: Callable[[Sequence[bytes], Options], list[Outcome]], threads: int) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="classify")
        self._idle = threads
        self._waiting: deque[tuple[bytes, Options, asyncio.Future[Outcome]]] = deque()

    async def answer(self, pictures: Sequence[bytes], options: Options) -> list[Outcome]:
        """What each picture came to, in order.

        Raises:
            Exception: the model call itself failed.
        """
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in pictures]
        self._waiting.extend((data, options, future) for data, future in zip(pictures, futures, strict=True))
        self._start()
        return await asyncio.gather(*futures)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._idle and self._waiting:
            options = self._waiting[0][1]
            pictures, futures = [], []
            while self._waiting and self._waiting[0][1] == options and len(pictures) < _BATCH:
                data, _, future = self._waiting.popleft()
                pictures.append(data)
                futures.append(future)
            self._idle -= 1
            job = asyncio.get_running_loop().run_in_executor(self._pool, self._work, pictures, options)
            job.add_done_callback(partial(self._finish, futures))

    def _finish(self, futures: "list[asyncio.Future[Outcome]]", job: "asyncio.Future[list[Outcome]]") -> None:
        self._idle += 1
        failure = job.exception()
        outcomes = job.result() if failure is None else [failure] * len(futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            if not future.done():  # a request that was cancelled waits no more
                future.set_result(outcome)
        self._start()
