"""Classification of many sources in threads; the results are in the order of the sources.

An unreadable image becomes an error value. This module imports no numpy and loads no model, because ``workers.pool`` uses it
in a process without them.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from fmnist_runtime.batching.ordered_map import map_ordered
from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.image_io.sources import Source
from fmnist_runtime.prediction import Answer, PredictionOrError

__all__ = ["choose_processes", "classify_sources", "to_answers"]

_CHUNK = 8
"""Images per model call of a thread: larger batches delay answers and are not faster."""
_MIN_FOR_PROCESSES = 500
"""Smallest number of images for which worker processes are started: threads classify hundreds in their start-up time."""

Classify = Callable[[list[Any]], list[PredictionOrError]]
"""Classifies a list of images, one result for each: ``Classifier.results``, or a worker process."""


def classify_sources(
    classify: Classify, sources: Iterable[Source], *, threads: int | None = None
) -> Generator[Answer, None, None]:
    """Classifies sources in their order; an image that cannot be read becomes an ``Answer`` with an error.

    Args:
        classify: Called in each thread with up to 8 images.
        sources: Images and errors, see ``expand``; read at most two chunks ahead for each thread.
        threads: Number of threads; None: one for each CPU that this process may use.

    Raises:
        Exception: ``classify`` raised it, or returned it as a result and it is not an ``FmnistError``: a defect here.
    """
    sources = iter(sources)
    first = list(islice(sources, 2))
    threads = (threads or available_cpus()) if len(first) > 1 else 1
    yield from map_ordered(
        lambda batch: to_answers(batch, classify), chain(first, sources), threads=threads, chunk=_CHUNK
    )


def to_answers(sources: list[Source], classify: Classify) -> list[Answer]:
    """Classifies all sources without an error in one call, and returns one answer for each source.

    Raises:
        Exception: A result of ``classify`` that is an exception other than ``FmnistError``.
    """
    results = classify([source.picture for source in sources if source.error is None])
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, FmnistError):
            raise result
    left = iter(results)
    return [
        Answer.of(source.name, next(left)) if source.error is None else Answer(source.name, None, source.error)
        for source in sources
    ]


def choose_processes(sources: Iterable[Source], requested: int | None) -> tuple[int, Iterator[Source]]:
    """Chooses the number of worker processes; 1 means none.

    Worker processes cannot read standard input: with ``-`` among the sources, request 1.

    Args:
        sources: Read only as far as the choice depends on their number.
        requested: Number of processes; None: one for each CPU, if there are at least ``_MIN_FOR_PROCESSES`` images.

    Returns:
        The number of processes, and an iterator over all sources, including those already read.
    """
    limit = requested or available_cpus()
    sources = iter(sources)
    if limit == 1:
        return 1, sources
    minimum = 2 if requested else _MIN_FOR_PROCESSES
    first = list(islice(sources, max(minimum, limit)))
    return (min(limit, len(first)) if len(first) >= minimum else 1), chain(first, sources)
