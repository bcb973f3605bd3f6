"""Prometheus metrics of the decoder, beside those that every server has."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.decoder.generation import Passes


class DecoderMetrics:
    """Counts what the ladder does; `passes` are read when somebody asks."""

    def __init__(self, registry: CollectorRegistry, passes: Passes) -> None:
        self.rungs = Counter(
            "nextvec_decoder_rungs_total", "Rungs tried", ("rung", "passed"), registry=registry
        )
        self.results = Counter(
            "nextvec_decoder_results_total",
            "Texts given: decoded, cached or extractive",
            ("kind",),
            registry=registry,
        )
        self.unpassed = Counter(
            "nextvec_decoder_unpassed_total",
            "Texts given that no check passed, for want of a quotation",
            registry=registry,
        )
        self.fixed_points = Counter(
            "nextvec_decoder_fixed_points_total",
            "Ladders that a repeated hypothesis ended",
            registry=registry,
        )
        self.shared = Counter(
            "nextvec_decoder_shared_total",
            "Rungs that another request was computing already",
            registry=registry,
        )
        tokens = Gauge(
            "nextvec_decoder_correction_tokens", "Tokens written by corrections", registry=registry
        )
        tokens.set_function(lambda: passes.tokens)
        rows = Gauge(
            "nextvec_decoder_correction_passes",
            "Decoder passes of corrections, each row counted",
            registry=registry,
        )
        rows.set_function(lambda: passes.rows)
