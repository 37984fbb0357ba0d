"""Construction of a service and its classifier, in this process or in worker processes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.store import find_model, prefix_model_errors, read_model
from fmnist_runtime.prediction import PredictionOrError
from fmnist_runtime.serve.settings import Settings

if TYPE_CHECKING:
    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.serve.app import Service

__all__ = ["build_service"]

_Loaded = TypeVar("_Loaded")


class _Backend(NamedTuple):
    """Classifier of a service, in this process or in worker processes."""

    labels: Sequence[str]
    """Class names of the model."""
    classify: Callable[..., list[PredictionOrError]]
    """``Classifier.results``, here or in a worker process."""
    replaced: Callable[[], int]
    """Returns the number of worker processes replaced so far."""
    available: Callable[[], bool] = lambda: True
    """Returns whether at least one worker process runs or can be started."""


@contextmanager
def build_service(model: str | None, settings: Settings, *, careful: bool = False) -> "Iterator[Service]":
    """Loads the model, runs its self-test, and loads the page; a context manager that ends all processes and threads.

    Args:
        model: See ``Classifier.load``.
        settings: See ``Settings``.
        careful: See ``Classifier.load``.

    Raises:
        ModelError: No such model, or this machine computes other logits than those stored in the file.
        FmnistError: The worker processes cannot be started.
    """
    file = find_model(model)
    data = read_model(file)
    with ExitStack() as stack, prefix_model_errors(file):
        if settings.workers == 1:
            backend = _in_this_process(data, careful)
        else:
            # The hash makes a worker that starts later refuse a file that was changed.
            load: dict[str, Any] = {"path": model, "sha256": sha256(data).hexdigest(), "careful": careful}
            backend = _in_processes(settings, load, stack)
        from fmnist_runtime.serve.app import Service

        service = Service(
            backend.labels,
            backend.classify,
            settings,
            _page(file, data),
            replaced=backend.replaced,
            available=backend.available,
        )
        stack.callback(service.close)
        yield service


def _page(file: Path, data: bytes) -> dict[str, bytes]:
    """Returns the files of the browser page; none, and a warning in the log, where the page cannot run this model."""
    from fmnist_runtime.serve.request_log import log_event
    from fmnist_runtime.webpage import page_files

    try:
        with prefix_model_errors(file):
            return page_files(data)
    except ModelError as error:
        log_event("no page", logging.WARNING, reason=str(error))
        return {}


def _in_this_process(data: bytes, careful: bool) -> _Backend:
    classifier = _load(partial(_load_classifier, data, careful))
    return _Backend(classifier.labels, classifier.results, lambda: 0)


def _load_classifier(data: bytes, careful: bool) -> "Classifier":
    import numpy as np

    from fmnist_runtime.classifier import Classifier
    from fmnist_runtime.selftest import require_selftest

    classifier = Classifier.from_bytes(data, careful=careful)
    require_selftest(classifier)
    # OpenBLAS takes its memory at the first photo, and ends the process where there is too little: better before it listens.
    classifier.results([np.arange(64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)])
    return classifier


def _in_processes(settings: Settings, load: dict[str, Any], stack: ExitStack) -> _Backend:
    from fmnist_runtime.workers.pool import WorkerPool

    seconds = settings.limits.work_seconds
    workers = stack.enter_context(WorkerPool(settings.workers, load, checked=True, seconds=seconds))
    labels = _load(workers.start, stop=workers.close)
    return _Backend(labels, workers.classify, lambda: workers.replaced, lambda: workers.available)


def _load(load: Callable[[], _Loaded], stop: Callable[[], None] = lambda: None) -> _Loaded:
    """Calls a function while the server's modules are imported, which takes as long; returns its result.

    Both run in threads, so that this one is free for signals: a self-test may never end.

    Args:
        load: Loads the model.
        stop: See ``map_ordered``.
    """
    from fmnist_runtime.batching.ordered_map import map_ordered

    jobs: list[Callable[[], Any]] = [load, lambda: import_module("fmnist_runtime.serve.server")]
    loaded, _ = map_ordered(lambda calls: [call() for call in calls], jobs, threads=2, chunk=1, stop=stop)
    return cast(_Loaded, loaded)
