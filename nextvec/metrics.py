"""Prometheus metrics of a server process. Times are in seconds; the registry is injected, never global."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_UNITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class QueueMetrics:
    """The metrics of one batch queue."""

    waiting: Gauge
    refused: Counter
    queue_seconds: Histogram
    compute_seconds: Histogram
    batch_units: Histogram


@dataclass(frozen=True)
class Model:
    """What a process computes with; `route` is empty where it serves all of them."""

    id: str
    space: str
    route: str = ""


class Models(Collector):
    """`nextvec_model_info`: 1 for every model in use, read when somebody asks."""

    LABELS = ("stage", "route", "model", "space")

    def __init__(
        self, registry: CollectorRegistry, stage: str, in_use: Callable[[], Iterable[Model]]
    ) -> None:
        self._stage = stage
        self._in_use = in_use
        registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        return [
            GaugeMetricFamily(
                "nextvec_model_info", "1 for every model, bank or space in use", labels=self.LABELS
            )
        ]

    def collect(self) -> Iterable[Metric]:
        (family,) = self.describe()
        for model in self._in_use():
            family.add_metric((self._stage, model.route, model.id, model.space), 1)
        return [family]


class Metrics:
    """All metrics of one process; make one per registry.

    `method` is like "EncoderService/Encode", `code` a gRPC status name, `kind` an error class, `queue` the
    name of a batch queue. Units of work are what the stage counts: texts, contexts or vectors.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        # By default the library adds a series to each, with the time that it was made; nobody asks for them.
        disable_created_metrics()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "nextvec_requests_total", "RPCs that ended", ("method", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "nextvec_request_seconds", "Time of RPCs", ("method",), registry=registry, buckets=_SECONDS
        )
        self.in_flight = Gauge(
            "nextvec_requests_in_flight", "RPCs being served", ("method",), registry=registry
        )
        self.items = Counter("nextvec_items_total", "Items of streams", ("method",), registry=registry)
        self.item_errors = Counter(
            "nextvec_item_errors_total", "Failed items of streams", ("method", "kind"), registry=registry
        )
        queue = ("queue",)
        self._waiting = Gauge(
            "nextvec_queue_waiting_units", "Units of work waiting", queue, registry=registry
        )
        self._refused = Counter(
            "nextvec_queue_refused_total", "Items refused by a full queue", queue, registry=registry
        )
        self._queue_seconds = Histogram(
            "nextvec_queue_seconds", "Time items waited", queue, registry=registry, buckets=_SECONDS
        )
        self._compute_seconds = Histogram(
            "nextvec_compute_seconds", "Time of batches", queue, registry=registry, buckets=_SECONDS
        )
        self._batch_units = Histogram(
            "nextvec_batch_units", "Units of work per batch", queue, registry=registry, buckets=_UNITS
        )

    def models(self, stage: str, in_use: Callable[[], Iterable[Model]]) -> None:
        """Exports which models `in_use` gives, whenever somebody asks."""
        Models(self.registry, stage, in_use)

    def queue(self, name: str) -> QueueMetrics:
        """The metrics of the batch queue called `name`."""
        return QueueMetrics(
            waiting=self._waiting.labels(name),
            refused=self._refused.labels(name),
            queue_seconds=self._queue_seconds.labels(name),
            compute_seconds=self._compute_seconds.labels(name),
            batch_units=self._batch_units.labels(name),
        )
