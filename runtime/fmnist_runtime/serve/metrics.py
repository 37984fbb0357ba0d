"""What ``/metrics`` shows: the load on the service, and its answers, which is what one watches for drift."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from fmnist_runtime.drift.counters import ANSWERS, CONFIDENCE, EDGES, REJECTED
from fmnist_runtime.errors import ImageError
from fmnist_runtime.prediction import Prediction, PredictionOrError
from fmnist_runtime.serve.body import Room

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One registry of its own, so that two services in one process do not meet."""

    def __init__(self, labels: Iterable[str], room: Room, replaced: Callable[[], int] = lambda: 0) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "fmnist_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "fmnist_request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(ANSWERS, "Pictures answered with this label.", ["label"], registry=registry)
        for label in labels:
            self._answers.labels(label)  # a class that is never seen shows as 0, not as missing
        self._rejected = Counter(REJECTED, "Pictures answered with I don't know.", registry=registry)
        self._unreadable = Counter("fmnist_unreadable", "Pictures that could not be read.", registry=registry)
        self._faults = Counter("fmnist_faults", "Pictures that met a fault of the service.", registry=registry)
        self._confidence = Histogram(
            CONFIDENCE,
            "Calibrated probability of the most probable class, rejected or not.",
            buckets=EDGES,
            registry=registry,
        )
        in_flight = Gauge("fmnist_in_flight", "Requests that are being answered.", registry=registry)
        in_flight.set_function(lambda: room.in_flight)
        held = Gauge("fmnist_held_bytes", "Memory that request bodies take.", registry=registry)
        held.set_function(lambda: room.held_bytes)
        pictures = Gauge("fmnist_pictures_in_flight", "Pictures that are being answered.", registry=registry)
        pictures.set_function(lambda: room.pictures)
        registry.register(_Replaced(replaced))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def outcomes(self, outcomes: Iterable[PredictionOrError]) -> None:
        """Count what pictures came to."""
        for outcome in outcomes:
            if not isinstance(outcome, Prediction):
                (self._unreadable if isinstance(outcome, ImageError) else self._faults).inc()
                continue
            self._confidence.observe(outcome.probability)
            if outcome.label is None:
                self._rejected.inc()
            else:
                self._answers.labels(outcome.label).inc()

    def text(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Replaced(Collector):
    """A counter that is kept elsewhere."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("fmnist_workers_replaced", "Worker processes that died or hung.", value=self._count())
