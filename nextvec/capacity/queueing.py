"""Waiting times of queues, in the steady state. Offered load is in erlangs: arrivals times service time.

The waiting time of G/G/c is that of M/M/c scaled by half of the squared coefficients of variation of service
times and of times between arrivals, after Allen and Cunneen. Where arrivals are random, the latter is 1; then
it is exact for one server, and for exponential service. Its tail is taken as exponential.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Wait:
    """A waiting time in seconds: none with probability 1 - `probability`, else exponential."""

    probability: float
    mean: float

    def beyond(self, seconds: Array) -> Array:
        """Probability that the wait is longer, for each of `seconds`."""
        if self.mean <= 0:
            return np.zeros_like(seconds)
        tail: Array = self.probability * np.exp(-seconds * (self.probability / self.mean))
        return tail

    def quantile(self, share: float) -> float:
        """Seconds that a share of all waits do not exceed."""
        if self.mean <= 0 or 1 - share >= self.probability:
            return 0.0
        return float(np.log(self.probability / (1 - share)) * self.mean / self.probability)


def erlang_b(servers: int, load: float) -> float:
    """Share of arrivals that find all servers busy where nobody waits.

    By the recursion over servers, in which nothing overflows however many there are.
    """
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Share of arrivals that have to wait; 1 from the load on at which the queue grows for ever."""
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def wait(servers: int, rate: float, mean: float, cv2: float, arrivals_cv2: float = 1.0) -> Wait:
    """Wait for the first free of some servers.

    `rate` is of arrivals per second, in all; `mean` the service time in seconds, `cv2` its squared
    coefficient of variation, `arrivals_cv2` that of the times between arrivals. Raises ValueError where the
    servers cannot keep up.
    """
    load = rate * mean
    if load >= servers:
        raise ValueError(f"{servers} servers cannot keep up with a load of {load:g}")
    if not load:
        return Wait(0.0, 0.0)
    probability = erlang_c(servers, load)
    return Wait(probability, probability * mean / (servers - load) * (arrivals_cv2 + cv2) / 2)


def merged_cv2(streams: int, cv2: float, utilisation: float) -> float:
    """Squared coefficient of variation between arrivals of equal streams that come together in a queue.

    `cv2` is that of one stream. Many streams together look random, the more so the less the queue is used;
    after Whitt's Queueing Network Analyzer.
    """
    weight = 1 / (1 + 4 * (1 - utilisation) ** 2 * (streams - 1))
    return weight * cv2 + 1 - weight
