"""All scenarios, and what each kind of them is done to."""

from collections.abc import Awaitable, Callable

from benchmarks.results import Result
from tests.chaos import clients, endurance, parts, replicas
from tests.chaos.stand import Stand

Scenario = Callable[[Stand], Awaitable[list[Result]]]

BROKEN: tuple[Scenario, ...] = (
    *(replicas.killed, replicas.paused, parts.without_redis, parts.promoted),
    *(clients.handles, clients.slow, clients.nonsense),
    *(replicas.corrupt, replicas.lost, replicas.restarted, clients.gone, replicas.added),
    endurance.soak,
)
"""Done one after the other to one system that cuts nothing off; it begins with three decoders."""

BUSY: tuple[Scenario, ...] = (endurance.overload, endurance.throughput)
"""Each done to a system of its own with one decoder, set as it comes."""

SMALL_CACHE = {"NEXTVEC_CACHE_ENTRIES": "8"}
"""For those done to one system: what is asked again then comes from Redis."""
