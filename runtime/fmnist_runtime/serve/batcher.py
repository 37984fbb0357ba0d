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

import numpy as np

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.images import open_image
from fmnist_runtime.prediction import Prediction

__all__ = ["Batcher", "Options", "Outcome", "answer_batch"]

_BATCH = 16

Outcome = Prediction | Exception
"""What one picture came to; an ``ImageError`` where it could not be read."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of its pictures; a batch holds one kind."""

    top_k: int = 3
    reject: bool = True


def answer_batch(classifier: Classifier, pixels: int, pictures: Sequence[bytes], options: Options) -> list[Outcome]:
    """Decode and classify encoded pictures of at most ``pixels`` pixels each; a bad one spoils no other."""
    outcomes: list[np.ndarray | Exception] = []
    for data in pictures:
        try:
            outcomes.append(classifier.prepare(open_image(data, max_pixels=pixels)))
        except Exception as error:  # anything but an ImageError is a fault of ours, which must not hit its neighbours
            outcomes.append(error)
    views = [outcome for outcome in outcomes if isinstance(outcome, np.ndarray)]
    predictions: list[Prediction] = []
    if views:
        predictions = classifier.classify_inputs(np.stack(views), top_k=options.top_k, reject=options.reject)
    answered = iter(predictions)
    return [next(answered) if isinstance(outcome, np.ndarray) else outcome for outcome in outcomes]


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
