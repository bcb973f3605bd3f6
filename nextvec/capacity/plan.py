"""The fewest replicas with which a load meets its service level, by the model and then by simulation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextvec.capacity.queueing import Wait, merged_cv2, wait
from nextvec.capacity.service_times import PROCESSES, SHARES, ServiceTimes
from nextvec.capacity.simulation import REQUESTS, Simulated, simulate
from nextvec.errors import InvalidInput

Array = NDArray[np.float64]

_BINS = 8192
_SPAN = 8
"""The distribution of a request's time is kept in bins up to so many times the wanted p95."""

_STEP = 0.02
"""Share of its replicas by which a process grows at once, where that is more than one."""

_ROUNDS = 200

_HALVINGS = 4


@dataclass(frozen=True)
class Level:
    """What is wanted: `rate` requests a second, of which `p95` seconds pass at most for 95 of 100."""

    rate: float
    p95: float
    hit_rate: float = 0.0
    utilisation: float = 0.8  # of any replica, at most
    spare: int = 1  # replicas of each process that may be lost

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("rps", self.rate, 0.001, 1e6),
            ("p95", self.p95, 0.001, 600),
            ("hit-rate", self.hit_rate, 0, 1),
            ("utilisation", self.utilisation, 0.05, 0.95),
            ("spare", self.spare, 0, 1000),
        ):
            if not low <= value <= high:
                raise InvalidInput(f"{name} is {value:g}; must be from {low:g} to {high:g}")


@dataclass(frozen=True)
class Share:
    """One process of a plan; times in seconds, waits by the model."""

    process: str
    replicas: int  # spares included
    utilisation: float  # with all of them
    service: float  # mean
    wait: float  # mean, with the spares lost
    p95: float  # of wait and service, with the spares lost
    budget: float  # its part of the service level


@dataclass(frozen=True)
class Plan:
    """Replicas for a level, and the p95 that model and simulation give, in seconds.

    `modelled` and `simulated` are with the spares lost, `simulated_whole` with all replicas.
    """

    level: Level
    shares: tuple[Share, ...]
    modelled: float
    simulated: float
    simulated_whole: float

    @property
    def replicas(self) -> dict[str, int]:
        """Replicas by process, spares included."""
        return {share.process: share.replicas for share in self.shares}


def plan(times: ServiceTimes, level: Level, *, requests: int = REQUESTS) -> Plan:
    """The smallest system that meets the level, whether `spare` replicas of each process are lost or none.

    Raises InvalidInput where no number of replicas meets it, naming the remedy.
    """
    model = _Model(times, level)
    bare = model.p95({})
    if bare >= level.p95:
        raise InvalidInput(
            f"p95 is {level.p95:g} s; must be above {bare:.3f} s, what the service times alone come to at a "
            f"hit rate of {level.hit_rate:g}: allow more time, use a faster machine or fewer rungs, or "
            "measure anew with --measure"
        )
    fewest, most = model.fewest(), _enough(model)
    tried = _Trial.of(model, most, requests)
    for _ in range(_ROUNDS):
        if tried.passed:
            break
        # The model is too hopeful here: what waits longest grows.
        grows = max(PROCESSES, key=lambda process: float(tried.worse.waits[process].mean()))
        most = {**most, grows: most[grows] + _step(most[grows])}
        tried = _Trial.of(model, most, requests)
    else:
        raise _too_near(model)
    # Where it is too careful, as with many gateways, the fewest that pass lie between.
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        between = {p: fewest[p] + round(middle * (most[p] - fewest[p])) for p in PROCESSES}
        if between == tried.needed:
            break
        trial = _Trial.of(model, between, requests)
        if trial.passed:
            tried, high = trial, middle
        else:
            low = middle
    return _plan(model, tried)


@dataclass(frozen=True)
class _Trial:
    """A system simulated with its spares lost, and whole: more gateways know less of each other's calls."""

    needed: dict[str, int]
    lost: Simulated
    whole: Simulated
    passed: bool

    @classmethod
    def of(cls, model: "_Model", needed: dict[str, int], requests: int) -> "_Trial":
        level = model.level
        systems = [needed, _with_spares(needed, level)] if level.spare else [needed]
        lost, *rest = (
            simulate(model.times, replicas, level.rate, level.hit_rate, requests=requests)
            for replicas in systems
        )
        whole = rest[0] if rest else lost
        slowest = max(lost.quantile(0.95), whole.quantile(0.95))
        return cls(needed, lost, whole, slowest <= level.p95)

    @property
    def worse(self) -> Simulated:
        return max(self.lost, self.whole, key=lambda one: one.quantile(0.95))


def _enough(model: "_Model") -> dict[str, int]:
    """Replicas with which the model meets the level, from the fewest that the utilisation allows."""
    level = model.level
    replicas = model.fewest()
    waits = {p: model.wait(p, replicas) for p in PROCESSES}
    for _ in range(_ROUNDS):
        if model.p95(waits) <= level.p95:
            return replicas
        better = {}
        for process in PROCESSES:
            more = {**replicas, process: replicas[process] + _step(replicas[process])}
            better[process] = model.p95({**waits, process: model.wait(process, more)})
        grows = min(PROCESSES, key=lambda process: better[process])
        replicas[grows] += _step(replicas[grows])
        waits = {p: model.wait(p, replicas) for p in PROCESSES}
    raise _too_near(model)


def _too_near(model: "_Model") -> InvalidInput:
    return InvalidInput(
        f"p95 is {model.level.p95:g} s, too near to the {model.p95({}):.3f} s of the service times alone: no "
        "reasonable number of replicas leaves that little time to wait; allow more"
    )


def _with_spares(needed: Mapping[str, int], level: Level) -> dict[str, int]:
    return {process: count + level.spare for process, count in needed.items()}


def _step(replicas: int) -> int:
    return max(1, int(_STEP * replicas))


def _plan(model: "_Model", trial: _Trial) -> Plan:
    level, needed = model.level, trial.needed
    waits = {process: model.wait(process, needed) for process in PROCESSES}
    p95s = {process: model.p95({process: waits[process]}, only=process) for process in PROCESSES}
    scale = level.p95 / sum(p95s.values())
    replicas = _with_spares(needed, level)
    shares = tuple(
        Share(
            process=process,
            replicas=replicas[process],
            utilisation=model.load(process) / replicas[process],
            service=model.moments[process][0],
            wait=waits[process].mean,
            p95=p95s[process],
            budget=scale * p95s[process],
        )
        for process in PROCESSES
    )
    return Plan(level, shares, model.p95(waits), trial.lost.quantile(0.95), trial.whole.quantile(0.95))


class _Model:
    """The distribution of a request's time, as the sum of waits and service times that are independent.

    Only that a request is answered from the cache in all processes or in none is kept.
    """

    def __init__(self, times: ServiceTimes, level: Level) -> None:
        self.times = times
        self.level = level
        self.moments = {process: times.moments(process, level.hit_rate) for process in PROCESSES}
        self._edges = np.linspace(0, _SPAN * level.p95, _BINS + 1)
        self._hit = {process: self._service(times.hit[process]) for process in PROCESSES}
        self._miss = {process: self._service(times.miss[process]) for process in PROCESSES}

    def load(self, process: str) -> float:
        """Replicas that are busy at a time, on average."""
        return self.level.rate * self.moments[process][0]

    def fewest(self) -> dict[str, int]:
        """Replicas with which none is busier than it may be."""
        return {p: max(1, int(np.ceil(self.load(p) / self.level.utilisation))) for p in PROCESSES}

    def wait(self, process: str, replicas: Mapping[str, int]) -> Wait:
        """The wait for a process.

        A client reaches any of the gateways, and has to wait for that one. A gateway knows how busy it makes
        a replica and not how busy the others do: alone, it finds the first that is free; one of many, it
        finds mostly the next in its turn, where the turns of all come together.
        """
        mean, cv2 = self.moments[process]
        servers, gateways = replicas[process], replicas["gateway"] + self.level.spare
        rate = self.level.rate / servers
        if process == "gateway":
            return wait(1, rate, mean, cv2)
        together = wait(servers, self.level.rate, mean, cv2)
        apart = wait(1, rate, mean, cv2, merged_cv2(gateways, 1 / servers, rate * mean))
        known = 1 / gateways
        return Wait(
            known * together.probability + (1 - known) * apart.probability,
            known * together.mean + (1 - known) * apart.mean,
        )

    def p95(self, waits: Mapping[str, Wait], only: str | None = None) -> float:
        """p95 of a request, or of `only` one process, with `waits` and no others."""
        processes = PROCESSES if only is None else (only,)
        waiting = np.prod([self._waiting(wait) for wait in waits.values()], axis=0) if waits else 1
        hit = np.prod([self._hit[process] for process in processes], axis=0)
        miss = np.prod([self._miss[process] for process in processes], axis=0)
        share = self.level.hit_rate
        density = np.fft.irfft(waiting * (share * hit + (1 - share) * miss), 2 * _BINS)[:_BINS]
        place = int(np.searchsorted(np.cumsum(density), 0.95))
        return float(self._edges[min(place + 1, _BINS)])

    def _service(self, quantiles: Array) -> NDArray[np.complex128]:
        points = np.interp(np.linspace(0.0005, 0.9995, 1000), SHARES, quantiles)
        return self._transform(np.histogram(points, self._edges)[0] / len(points))

    def _waiting(self, wait: Wait) -> NDArray[np.complex128]:
        beyond = wait.beyond(self._edges)
        shares = -np.diff(beyond)
        shares[0] += 1 - beyond[0]
        return self._transform(shares)

    def _transform(self, shares: Array) -> NDArray[np.complex128]:
        """Of the probabilities [bins] of a time; a product of such is that of the sum."""
        return np.fft.rfft(shares, 2 * _BINS)
