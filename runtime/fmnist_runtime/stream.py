"""Many pictures in order: a thread for each CPU takes a few pictures, decodes them and asks the model; memory stays bounded."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmnist_runtime.batch import classify_prepared
from fmnist_runtime.classifier import Classifier
from fmnist_runtime.cpus import available_cpus
from fmnist_runtime.errors import FmnistError
from fmnist_runtime.images import find_images, open_image
from fmnist_runtime.prediction import Prediction

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Answer", "classify_all", "count_pictures"]

_CHUNK = 8
"""Pictures that a thread takes at a time and classifies in one call: more would only delay the first answers."""


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
    classify = partial(_classify, classifier, top_k=top_k, reject=reject, show=show)
    first = list(islice(names, 2))
    if len(first) < 2:  # one picture: no threads to start
        yield from classify(first)
        return
    from concurrent.futures import ThreadPoolExecutor

    names, threads = chain(first, names), available_cpus()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[list[Answer]]] = deque()
        try:
            while chunk := list(islice(names, _CHUNK)):
                waiting.append(pool.submit(classify, chunk))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def count_pictures(sources: Iterable[str]) -> int:
    """How many answers ``classify_all`` will give for these sources; folders are searched through."""
    return sum(1 for _ in _expand(sources))


@dataclass(frozen=True)
class Source:
    """One picture to be read, or a folder that holds none."""

    name: str
    path: str | Path
    error: str | None = None


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


def _classify(
    classifier: Classifier, sources: list[Source], *, top_k: int, reject: bool, show: Path | None
) -> list[Answer]:
    prepared = [_prepare(classifier, source, show) for source in sources]
    outcomes = classify_prepared(classifier, prepared, top_k=top_k, reject=reject)
    return [
        Answer(source.name, None, outcome) if isinstance(outcome, str) else Answer(source.name, outcome)
        for source, outcome in zip(sources, outcomes, strict=True)
    ]
