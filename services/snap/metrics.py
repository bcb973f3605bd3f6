"""Prometheus metrics of the snap stage, beside those that every server has."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_COSINES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1)
"""The drift clamp's limits, 0.2 and 0.3, and that of near-duplicates, 0.98, are bounds of buckets."""


class SnapMetrics:
    """Projections of one process.

    `policy` is one of the known ones; `to` says what the cosine is taken to: vector for that of the result to
    what was projected, query and context for those of the snapped direction before the blend.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._projections = Counter(
            "nextvec_snap_projections_total", "Vectors projected", ("policy",), registry=registry
        )
        self._clamps = Counter(
            "nextvec_snap_clamps_total", "Projections whose drift clamp fired", registry=registry
        )
        self._cosine = Histogram(
            "nextvec_snap_cosine",
            "Cosine, -1 to 1, between a projection and what it started from",
            ("to",),
            registry=registry,
            buckets=_COSINES,
        )

    def projected(self, policy: str, *, clamped: bool, vector: float, query: float, context: float) -> None:
        """Counts a projection, with its three cosines."""
        self._projections.labels(policy).inc()
        if clamped:
            self._clamps.inc()
        for to, cosine in (("vector", vector), ("query", query), ("context", context)):
            self._cosine.labels(to).observe(cosine)
