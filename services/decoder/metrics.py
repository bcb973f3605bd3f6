"""Prometheus metrics of the decoder, beside those that every server has."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.decoder import quality
from services.decoder.entities import entities, names_any
from services.decoder.generation import Passes
from services.decoder.quality import Check

_OVERLAP = "source_overlap"

_LOOKED_AT = 10_000
"""Characters of a source, from its start, in which names are looked for."""

_SOURCES = 1024
"""Sources whose names are remembered."""


class DecoderMetrics:
    """Counts what the ladder does; `passes` are read when somebody asks.

    `passed` is true or false, `kind` one of decoded, cached and extractive, `figure` one of gibberish,
    keyword and entity, `result` hit or miss.
    """

    def __init__(self, registry: CollectorRegistry, passes: Passes) -> None:
        self._rungs = Counter(
            "nextvec_decoder_rungs_total",
            "Rungs reached, with what the checks said",
            ("rung", "passed"),
            registry=registry,
        )
        self._checks = Counter(
            "nextvec_decoder_checks_total",
            "Checks of the texts that rungs offered",
            ("check", "passed"),
            registry=registry,
        )
        self._results = Counter(
            "nextvec_decoder_results_total",
            "Texts given: decoded, cached or extractive",
            ("kind",),
            registry=registry,
        )
        self._quality = Counter(
            "nextvec_decoder_answer_quality_total",
            "Texts given that are gibberish, that share a content word with their source, that share a name "
            "or number with it; counted where the source has one, names in its first "
            f"{_LOOKED_AT:,} characters",
            ("figure", "result"),
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
        self._names = _Names()
        _Drafts(registry, passes)

    def tried(self, rung: int, checks: Sequence[Check]) -> None:
        """Counts a rung whose text was checked."""
        self._rungs.labels(rung, _bool(all(check.passed for check in checks))).inc()
        for check in checks:
            self._checks.labels(check.name, _bool(check.passed)).inc()

    def answered(self, kind: str, text: str, source: str, checks: Sequence[Check]) -> None:
        """Counts a text that is given; `checks` are its own, none where it is not to be checked."""
        self._results.labels(kind).inc()
        if kind == "extractive":
            checks = quality.check(text, source)
        if not checks:
            return
        fair = all(check.passed for check in checks if check.name != _OVERLAP)
        self._count("gibberish", not fair)
        for check in checks:
            if check.name == _OVERLAP:
                self._count("keyword", check.value > 0)
        if wanted := self._names.of(source):
            self._count("entity", names_any(text, wanted))

    def _count(self, figure: str, hit: bool) -> None:
        self._quality.labels(figure, "hit" if hit else "miss").inc()


class _Names:
    """Names of the latest sources by digest, for the sources themselves are large and their users' own.

    Of repeated requests the names were found before; finding them takes longer than a hit in the cache.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, frozenset[str]] = OrderedDict()

    def of(self, source: str) -> frozenset[str]:
        start = source[:_LOOKED_AT]
        key = hashlib.sha256(start.encode(errors="surrogatepass")).digest()
        found = self._known.pop(key, None)
        self._known[key] = entities(start) if found is None else found
        if len(self._known) > _SOURCES:
            self._known.popitem(last=False)
        return self._known[key]


class _Drafts(Collector):
    """What verifying drafts saves, as the engine counts it."""

    def __init__(self, registry: CollectorRegistry, passes: Passes) -> None:
        self._passes = passes
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        return [
            CounterMetricFamily(
                "nextvec_decoder_correction_tokens",
                "Tokens written by corrections; by the passes, how many of a draft are accepted at once",
                self._passes.tokens,
            ),
            CounterMetricFamily(
                "nextvec_decoder_correction_passes",
                "Decoder passes of corrections, each row counted",
                self._passes.rows,
            ),
        ]


def _bool(value: bool) -> str:
    return "true" if value else "false"
