"""Prometheus metrics of a cache: both tiers, Redis's answers, and waits for other processes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class CacheMetrics:
    """What a cache counts; `name` tells the caches of a process apart."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        prefix = f"nextvec_{name}_cache_"

        def counter(metric: str, meaning: str) -> Counter:
            return Counter(f"{prefix}{metric}_total", meaning, registry=registry)

        def gauge(metric: str, meaning: str) -> Gauge:
            return Gauge(f"{prefix}{metric}", meaning, registry=registry)

        hits = Counter(f"{prefix}hits_total", "Entries found, by tier", ("tier",), registry=registry)
        self.process_hits = hits.labels("process")
        self.redis_hits = hits.labels("redis")
        self.misses = counter("misses", "Entries found in no tier")
        self.rejected = counter("rejected", "Entries of Redis with a wrong checksum, content or size")
        self.entries = gauge("entries", "Entries in the process")
        self.bytes = gauge("bytes", "Size of the entries in the process, encoded, in bytes")
        self.evicted = counter("evicted", "Entries that left the process for want of room")
        self.oversized = counter("oversized", "Entries too large to be kept")
        self.dropped = counter(
            "dropped_writes", "Entries not written to Redis because it fails or too many were on their way"
        )
        self.redis_failures = counter("redis_failures", "Calls to Redis that failed or took too long")
        self.redis_seconds = Histogram(
            f"{prefix}redis_seconds",
            "Time of calls to Redis in seconds, failed ones included, by call: read, write or lock",
            ("call",),
            registry=registry,
            buckets=_SECONDS,
        )
        self.breaker_open = gauge("breaker_open", "1 while Redis is left out because it fails, 0 otherwise")
        self.waits = Counter(
            f"{prefix}waits_total",
            "Waits for what another process was computing, by outcome: found, or computed here after all",
            ("outcome",),
            registry=registry,
        )
        self.wait_seconds = Histogram(
            f"{prefix}wait_seconds",
            "Time of waits for what another process was computing, in seconds",
            registry=registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )
