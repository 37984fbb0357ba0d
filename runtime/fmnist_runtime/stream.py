"""Many pictures in order: decoding runs ahead on a few threads, the model takes small batches, memory stays bounded."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.images import find_images, open_image
from fmnist_runtime.prediction import Prediction

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Answer", "classify_all"]

_BATCH = 16
_AHEAD = 64
"""Pictures that may be decoded and not yet answered."""


@dataclass(frozen=True)
class Answer:
    """The answer for one picture of many: a prediction, or why there is none."""

    path: str
    """As given, or below the folder given."""
    prediction: Prediction | None
    error: str | None = None


def classify_all(
    classifier: Classifier,
    sources: Iterable[str],
    *,
    top_k: int = 3,
    reject: bool = True,
    show: Path | None = None,
) -> Iterator[Answer]:
    """Classify files, folders and standard input, in the order given; a bad picture becomes an ``Answer`` with an error.

    Args:
        classifier: what to ask.
        sources: paths; ``-`` is standard input; a folder means all pictures below it, sorted.
        top_k, reject: see ``Classifier.__call__``.
        show: a folder to write, for each picture, a PNG of the photo beside what the network saw.
    """
    names = _expand(sources)
    first = list(islice(names, 2))
    if len(first) < 2:  # one picture: no threads to start
        yield from (_answers(classifier, [(n, _prepare(classifier, n, show)) for n in first], top_k, reject))
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=max(1, available_cpus())) as pool:
        waiting: deque[tuple[Source, Future]] = deque()
        batch: list[tuple[Source, np.ndarray | str]] = []
        try:
            for source in _chain(first, names):
                waiting.append((source, pool.submit(_prepare, classifier, source, show)))
                if len(waiting) >= _AHEAD:
                    batch.append(_take(waiting))
                if len(batch) >= _BATCH:
                    yield from _answers(classifier, batch, top_k, reject)
                    batch = []
            while waiting:
                batch.append(_take(waiting))
            for start in range(0, len(batch), _BATCH):
                yield from _answers(classifier, batch[start : start + _BATCH], top_k, reject)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Source:
    """One picture to be read, or a folder that holds none."""

    name: str
    path: str | Path
    error: str | None = None


def _chain(first: list[Source], rest: Iterator[Source]) -> Iterator[Source]:
    yield from first
    yield from rest


def _expand(sources: Iterable[str]) -> Iterator[Source]:
    for name in sources:
        if name == "-" or not os.path.isdir(name):  # noqa: PTH112 (Path.is_dir raises for a name too long)
            yield Source(name, name)
            continue
        found = False
        for path in find_images(name):
            found = True
            yield Source(str(path), path)
        if not found:
            yield Source(name, name, "the folder holds no pictures")


def _prepare(classifier: Classifier, source: Source, show: Path | None) -> np.ndarray | str:
    """What the network sees, or why there is nothing to see."""
    if source.error:
        return source.error
    try:
        image = open_image(source.path)
        views = classifier.prepare(image)
        if show is not None:
            from fmnist_runtime.show import write_comparison

            write_comparison(image, views[0], show, source.name)
        return views
    except FmnistError as error:
        return str(error)
    except MemoryError:
        return "the picture needs more memory than there is"


def _take(waiting: "deque[tuple[Source, Future]]") -> tuple[Source, np.ndarray | str]:
    source, future = waiting.popleft()
    return source, future.result()


def _answers(
    classifier: Classifier, batch: list[tuple[Source, np.ndarray | str]], top_k: int, reject: bool
) -> Iterator[Answer]:
    views = [prepared for _, prepared in batch if isinstance(prepared, np.ndarray)]
    predictions = iter(classifier.classify_inputs(np.stack(views), top_k=top_k, reject=reject) if views else [])
    for source, prepared in batch:
        if isinstance(prepared, str):
            yield Answer(source.name, None, prepared)
        else:
            yield Answer(source.name, next(predictions))
