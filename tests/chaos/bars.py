"""What a broken part may cost: the bars, and figures held to them."""

from collections.abc import Iterable
from dataclasses import replace

from benchmarks.bars import Bar
from benchmarks.results import Result

_BENCH = "chaos"


def _none(name: str, what: str, unit: str = "requests") -> Bar:
    return Bar(name, _BENCH, what, "≤", 0, unit)


BARS = {
    bar.name: bar
    for bar in (
        _none("killed_failed", "decoder killed, 3 replicas: failed"),
        Bar("killed_seconds", _BENCH, "decoder killed: until the rest carry the load", "≤", 2, "s"),
        _none("paused_failed", "decoder paused: failed"),
        _none("lost_failed", "every replica of a stage killed: failed with no word of which stage"),
        _none("restarted_failed", "rolling restart of every stage: failed"),
        _none("corrupt_failed", "weight file corrupt at a restart: failed"),
        _none("corrupt_started", "weight file corrupt at a restart: started with it", "processes"),
        Bar("replica_seconds", _BENCH, "new replica healthy: until it gets traffic", "≤", 5, "s"),
        _none("redis_failed", "Redis stopped, slow, full: failed"),
        _none("redis_wrong", "Redis stopped, slow, full: other answers than without it"),
        _none("promoted_failed", "model promoted and rolled back: failed"),
        _none("promoted_wrong", "model promoted and rolled back: answers by the one before"),
        _none("handles_failed", "no file handles left for the gateway: failed of those connected"),
        _none("slow_failed", "slow and half-open clients: failed of the others"),
        _none("fuzz_failed", "fuzzed messages: answered as internal or unknown", "messages"),
        _none("fuzz_bugs", "fuzzed messages: bugs logged", "lines"),
        _none("fuzz_deaths", "fuzzed messages: ended", "processes"),
        Bar("fuzz_growth", _BENCH, "fuzzed messages: growth of the process that grows most", "≤", 64, "MiB"),
        Bar("cancelled_steps", _BENCH, "request cancelled: computed after it", "≤", 1, "steps"),
        Bar("expired_steps", _BENCH, "request expired: computed after it", "≤", 1, "steps"),
        Bar("overload_kept", _BENCH, "overload: accepted requests answered in 3 s", "≥", 0.99, ""),
        Bar("overload_growth", _BENCH, "overload: growth of the process that grows most", "≤", 128, "MiB"),
        Bar("overload_health", _BENCH, "overload: slowest answer to a health check", "≤", 100, "ms"),
        Bar("throughput", _BENCH, "2 decoders of one thread / 1, on 2 cores", "≥", 1.7, "×"),
        Bar("soak_failed", _BENCH, "soak: failed", "≤", 0, "requests"),
        Bar("soak_growth", _BENCH, "soak: growth after warm-up of the process that grows most", "≤", 5, "%"),
    )
}

OF_SPEED = {
    *("killed_seconds", "replica_seconds", "overload_kept", "overload_health", "throughput", "soak_growth"),
}
"""Bars that a busy machine misses; the short form shows their figures and does not judge them."""


def without_speed(results: Iterable[Result]) -> list[Result]:
    """The same figures, those OF_SPEED held to no bar."""
    return [replace(result, bar=None) if result.name in OF_SPEED else result for result in results]


def held(name: str, value: float) -> Result:
    """A figure that has a bar; raises KeyError where it has none."""
    bar = BARS[name]
    return Result(name, _BENCH, bar.what, float(value), bar.unit, bar=bar)


def figure(name: str, what: str, value: float, unit: str) -> Result:
    """A figure without a bar."""
    return Result(name, _BENCH, what, float(value), unit)
