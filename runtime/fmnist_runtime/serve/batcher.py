"""Batches of images from many requests, several classified at the same time.

When a thread becomes idle, its next batch is all waiting images, up to ``_MAX_BATCH``: one at low load, many at high load.
No image waits for a batch to fill.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import NamedTuple

from fmnist_runtime.cpus import NO_THREAD
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.prediction import PredictionOrError

__all__ = ["Batcher", "RequestOptions", "start_pool"]

_MAX_BATCH = 16
"""Images of one model call: more would delay the first answers."""
_MAX_BATCH_BYTES = 1 << 20
"""Bytes at which a batch is full, because a batch is copied to another process."""


class RequestOptions(NamedTuple):
    """Options of a request; all images of a batch have the same. See ``Classifier``."""

    top_k: int
    """Number of classes in an answer."""
    reject: bool
    """Whether images may be rejected."""
    max_pixels: int
    """Upper bound of an image's pixels."""


def start_pool(threads: int, name: str) -> tuple[ThreadPoolExecutor, int]:
    """Returns an executor with running threads, and their number: as many as the system grants, up to ``threads``.

    An executor that starts its threads later would fail in the middle of a request.

    Raises:
        FmnistError: The system grants no thread.
    """
    pool, release = ThreadPoolExecutor(threads, name), Event()
    for started in range(threads):
        try:
            pool.submit(release.wait)
        except RuntimeError as error:
            release.set()
            pool.shutdown()
            if not started:
                raise FmnistError(NO_THREAD) from error
            return start_pool(started, name)
    release.set()
    return pool, threads


class Batcher:
    """Combines images of several requests into calls of ``classify``; used from one event loop.

    Args:
        classify: Takes a list of images and the fields of ``RequestOptions``; returns one result for each image.
        threads: Largest number of calls at the same time.

    Raises:
        FmnistError: See ``start_pool``.
    """

    def __init__(self, classify: Callable[..., list[PredictionOrError]], threads: int) -> None:
        self._classify = classify
        self._pool, self._idle = start_pool(threads, "classify")
        self._waiting: deque[tuple[bytes, RequestOptions, asyncio.Future[PredictionOrError]]] = deque()

    async def classify(self, images: Sequence[bytes], options: RequestOptions) -> list[PredictionOrError]:
        """Returns one result for each image, in order. On cancellation, drops images that are still waiting.

        Raises:
            Exception: The model call failed.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[PredictionOrError]] = [loop.create_future() for _ in images]
        self._waiting.extend((data, options, future) for data, future in zip(images, futures, strict=True))
        self._start()
        try:
            return await asyncio.gather(*futures)
        except asyncio.CancelledError:
            self._waiting = deque(entry for entry in self._waiting if not entry[2].done())
            raise

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._idle and self._waiting:
            options = self._waiting[0][1]
            images, futures = self._take(options)
            self._idle -= 1
            call = partial(self._classify, images, **options._asdict())
            job = asyncio.get_running_loop().run_in_executor(self._pool, call)
            job.add_done_callback(partial(self._finish, futures))

    def _take(self, options: RequestOptions) -> "tuple[list[bytes], list[asyncio.Future[PredictionOrError]]]":
        """Removes the next images with these options from the queue, up to one batch."""
        images: list[bytes] = []
        futures: list[asyncio.Future[PredictionOrError]] = []
        size = 0
        while self._waiting and self._waiting[0][1] == options and len(images) < _MAX_BATCH and size < _MAX_BATCH_BYTES:
            data, _, future = self._waiting.popleft()
            images.append(data)
            futures.append(future)
            size += len(data)
        return images, futures

    def _finish(
        self, futures: "list[asyncio.Future[PredictionOrError]]", job: "asyncio.Future[list[PredictionOrError]]"
    ) -> None:
        self._idle += 1
        failure = job.exception()
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        outcomes: list[PredictionOrError] = job.result() if failure is None else [failure] * len(futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            if not future.done():  # canceled requests have ended
                future.set_result(outcome)
        self._start()
