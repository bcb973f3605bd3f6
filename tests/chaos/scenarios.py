"""All scenarios, and what each kind of them is done to."""

from collections.abc import Awaitable, Callable

from benchmarks.results import Result
from tests.chaos import clients, endurance, parts, replicas
from tests.chaos.stand import Stand

Scenario = Callable[[Stand], Awaitable[list[Result]]]

BROKEN: tuple[Scenario, ...] = (
    *(clients.gone, clients.handles, clients.slow, clients.nonsense, endurance.soak),
    *(parts.without_redis, parts.promoted),
    *(replicas.killed, replicas.paused, replicas.corrupt, replicas.lost, replicas.restarted, replicas.added),
)
"""Done one after the other to one system that cuts nothing off; it begins with one decoder."""

MEASURED: tuple[Scenario, ...] = (endurance.throughput,)
"""Done to the same system in the long form alone, for nothing but its speed is in question."""

HURRIED: tuple[Scenario, ...] = (endurance.overload,)
"""Done to a system of their own with the deadlines that it comes with."""

SMALL_CACHE = {"NEXTVEC_CACHE_ENTRIES": "8"}
"""For those done to one system: what is asked again then comes from Redis."""
