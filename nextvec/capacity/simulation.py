"""Requests through replicas, one after the other: what the model only approximates.

Every gateway has the requests that clients happen to send it; a stage's replica is the one that has the
fewest of the gateway's own calls in flight, in turn where several have as few, as the gateway chooses. A
replica serves one call at a time in the order of arrival. Batches are not simulated: they make a busy replica
faster than it is here.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextvec.capacity.service_times import PROCESSES, ServiceTimes

Array = NDArray[np.float64]

REQUESTS = 60_000
"""Enough for a p95 that varies by a hundredth from one run to the next."""

_WARM_UP = 0.2
"""Share of the requests after which the queues are as long as they stay."""

_VISITS = 20
"""Requests per replica at least: fewer than these leave no queue behind."""


@dataclass(frozen=True)
class Simulated:
    """Seconds from arrival to answer [N], and of waiting by process, once the queues are full."""

    totals: Array
    waits: Mapping[str, Array]

    def quantile(self, share: float) -> float:
        """Seconds that a share of the requests do not exceed."""
        return float(np.quantile(self.totals, share))


def simulate(
    times: ServiceTimes,
    replicas: Mapping[str, int],
    rate: float,
    hit_rate: float,
    *,
    requests: int = REQUESTS,
    seed: int = 0,
) -> Simulated:
    """Sends requests at `rate` a second at random moments through every process in turn."""
    random = np.random.default_rng(seed)
    count = max(requests, _VISITS * max(replicas.values()))
    arrived = np.cumsum(random.exponential(1 / rate, count))
    hits = random.random(count) < hit_rate
    gateways = random.integers(replicas["gateway"], size=count)
    now, waits = arrived, {}
    for process in PROCESSES:
        service = times.drawn(process, hits, random)
        order = np.argsort(now, kind="stable")
        if process == "gateway":
            started = _own_replica(now[order], service[order], gateways[order])
        else:
            started = fewest_in_flight(now[order], service[order], gateways[order], replicas[process])
        began = np.empty(count)
        began[order] = started
        waits[process] = began - now
        now = began + service
    steady = slice(int(_WARM_UP * count), None)
    return Simulated((now - arrived)[steady], {name: wait[steady] for name, wait in waits.items()})


def fewest_in_flight(arrivals: Array, service: Array, senders: NDArray[np.int64], replicas: int) -> Array:
    """When each of N calls, in order of arrival, begins to be served; [N] seconds each."""
    in_flight = np.zeros((int(senders.max()) + 1, replicas), np.int32)
    turns = np.random.default_rng(0).integers(replicas, size=len(in_flight)).tolist()
    free_at = np.zeros(replicas)
    under_way: list[tuple[float, int, int]] = []
    began = np.empty(len(arrivals))
    calls = zip(arrivals.tolist(), service.tolist(), senders.tolist(), strict=True)
    for index, (now, seconds, sender) in enumerate(calls):
        while under_way and under_way[0][0] <= now:
            _, whose, which = heapq.heappop(under_way)
            in_flight[whose, which] -= 1
        mine = in_flight[sender]
        turn = turns[sender] = (turns[sender] + 1) % replicas
        replica = turn + (int(mine[turn:].argmin()) if mine[turn] else 0)
        if mine[replica] and turn:
            earlier = int(mine[:turn].argmin())
            if mine[earlier] < mine[replica]:
                replica = earlier
        mine[replica] += 1
        began[index] = max(now, free_at[replica])
        free_at[replica] = began[index] + seconds
        heapq.heappush(under_way, (free_at[replica], sender, replica))
    return began


def _own_replica(arrivals: Array, service: Array, servers: NDArray[np.int64]) -> Array:
    """The same where every call has its server [N] already."""
    free_at = [0.0] * (int(servers.max()) + 1)
    began = np.empty(len(arrivals))
    calls = zip(arrivals.tolist(), service.tolist(), servers.tolist(), strict=True)
    for index, (now, seconds, server) in enumerate(calls):
        began[index] = max(now, free_at[server])
        free_at[server] = began[index] + seconds
    return began
