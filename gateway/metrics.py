"""Metrics that only a gateway has, beside those of every server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.3, 2, 3, 5, 10)
"""The service levels, 1.0 s and 1.3 s, are bounds of buckets."""


class GatewayMetrics:
    """Completions, chunks and stage calls of one process; times are in seconds.

    `code` is a gRPC status name, `part` one of total, queue and compute, `source` a kind of context in lower
    case, `origin` one of decoded, cache and extractive, `stage` what was called or, of a degraded chunk, what
    it went without, `reason` one of unavailable and full.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.completions = Counter(
            "nextvec_gateway_completions_total", "Requests that ended", ("route", "code"), registry=registry
        )
        self.completion_seconds = Histogram(
            "nextvec_gateway_completion_seconds",
            "Time of requests that succeeded",
            ("route",),
            registry=registry,
            buckets=_SECONDS,
        )
        self.stage_seconds = Histogram(
            "nextvec_gateway_stage_seconds",
            "Time of stage calls that succeeded",
            ("stage", "part"),
            registry=registry,
            buckets=(0.001, 0.0025, *_SECONDS),
        )
        self.stage_errors = Counter(
            "nextvec_gateway_stage_errors_total",
            "Stage calls that failed",
            ("stage", "kind"),
            registry=registry,
        )
        self.retries = Counter(
            "nextvec_gateway_retries_total",
            "Stage calls made again, by what the call before ended with",
            ("stage", "reason"),
            registry=registry,
        )
        self.retries_refused = Counter(
            "nextvec_gateway_retries_refused_total",
            "Stage calls not made again because the retry budget was spent",
            ("stage", "reason"),
            registry=registry,
        )
        self.degraded = Counter(
            "nextvec_gateway_degraded_total",
            "Chunks that went without a stage",
            ("stage",),
            registry=registry,
        )
        self.contexts = Counter(
            "nextvec_gateway_contexts_total",
            "Contexts by where they came from",
            ("source",),
            registry=registry,
        )
        self.chunks = Counter(
            "nextvec_gateway_chunks_total", "Generated chunks", ("route", "origin"), registry=registry
        )
        self.extractive = Counter(
            "nextvec_gateway_extractive_total",
            "Quoted chunks by why: checks (no rung passed), breaker, late, unavailable, precondition",
            ("reason",),
            registry=registry,
        )
        self.breaker_state = Gauge(
            "nextvec_gateway_breaker_state",
            "0 closed, 1 half open, 2 open",
            ("stage",),
            registry=registry,
        )
        self.breaker_transitions = Counter(
            "nextvec_gateway_breaker_transitions_total",
            "Changes of a breaker's state, by the new one: closed, half_open or open",
            ("stage", "to"),
            registry=registry,
        )
