"""Writes docs/metrics.md from what the processes register: python tools/generate_metrics.py, in the root."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from gateway.metering import KeyMetrics
from gateway.metrics import GatewayMetrics
from nextvec.cache_metrics import CacheMetrics
from nextvec.metrics import Metrics
from services.decoder.generation import Passes
from services.decoder.metrics import DecoderMetrics
from services.snap.metrics import SnapMetrics

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
COMMAND = "python tools/generate_metrics.py"
EVERY = "every process"

REGISTERED: dict[str, tuple[Callable[[CollectorRegistry], object], ...]] = {
    EVERY: (lambda registry: Metrics(registry).models("", list),),
    "gateway": (GatewayMetrics, KeyMetrics),
    "encoder": (lambda registry: CacheMetrics(registry, "encoder"),),
    "snap": (SnapMetrics,),
    "decoder": (
        lambda registry: CacheMetrics(registry, "decoder"),
        lambda registry: DecoderMetrics(registry, Passes()),
    ),
}
"""What a process exports beside what every process does; the LVM stage has nothing of its own."""

_UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_cosine": "cosine", "_units": "units of work"}

_HEAD = f"""# Metrics

Every process serves its metrics for Prometheus at `/metrics` of the port in `NEXTVEC_METRICS_PORT`; unset, it
serves none. Times are in seconds. Counters only rise while a process lives. A histogram has the series
`_bucket`, `_sum` and `_count`. A series with labels is there from the first event on that it counts.

`method` is like `EncoderService/Encode`, `code` a gRPC status name, `kind` of an error its class in
`nextvec/errors.py`. Units of work are texts in the encoder, contexts in the LVM stage, and vectors in snap
and the decoder. No label holds anything that a user sent, and the number of series does not grow with
requests.

This page is made by `{COMMAND}`.
"""


@dataclass(frozen=True)
class Family:
    """One metric as PromQL names it, a histogram without the ends of its series."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def unit(self) -> str:
        """What its values count."""
        name = self.name.removesuffix("_total")
        return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query may use."""
        if self.type == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


class _Recorder(CollectorRegistry):
    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self.collectors.append(collector)


def families(process: str) -> list[Family]:
    """What `REGISTERED` has for a process, by name."""
    recorder = _Recorder()
    for register in REGISTERED[process]:
        register(recorder)
    found = [family for collector in recorder.collectors for family in _of(collector)]
    return sorted(found, key=lambda family: family.name)


def exported(process: str) -> list[Family]:
    """All that a process exports."""
    return families(EVERY) + (families(process) if process in REGISTERED else [])


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for process in REGISTERED:
        parts.append(f"## {process[0].upper()}{process[1:]}\n\n{_table(families(process))}\n")
    return "\n".join(parts)


def _of(collector: Collector) -> Iterable[Family]:
    # The client library shows label names nowhere else before there is a first series.
    labels = tuple(getattr(collector, "_labelnames", None) or getattr(collector, "LABELS", ()))
    describe = getattr(collector, "describe", collector.collect)
    for metric in describe() or collector.collect():
        end = "_total" if metric.type == "counter" else ""
        yield Family(metric.name + end, metric.type, labels, metric.documentation)


def _table(rows: list[Family]) -> str:
    lines = ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.type} | {labels} | {row.unit} | {row.meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} written")
