"""Load on a running system: requests at a given rate, or of a given number of clients, and what came of them.

texts = Texts(sentences, repeated=0.3)
async with AsyncClient(address, timeout=3) as client:
    report = await open_loop(completing(client, texts), rate=50, seconds=10)
print(report.served, report.latency(0.95), report.codes)
"""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextvec.client import AsyncClient
from nextvec.errors import NextvecError, status_of

_KEPT = 32
"""Texts that repeated requests are taken from: few enough that a cache of any size holds them."""


@dataclass(frozen=True)
class Answer:
    """What a request brought: whether it was quoted, from the cache, or less than it should be."""

    extractive: bool = False
    cached: bool = False
    degraded: bool = False


Send = Callable[[], Awaitable[Answer]]
"""Makes one request; raises a NextvecError where it fails."""


@dataclass(frozen=True)
class Outcome:
    """One request. `seconds` run from when it was due: a driver that lags must not flatter the system."""

    at: float
    seconds: float
    code: str
    answer: Answer = field(default_factory=Answer)
    retry_delay_ms: int = 0


@dataclass(frozen=True)
class Report:
    """All requests of a run that took `seconds`, in the order in which they ended."""

    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def codes(self) -> Counter[str]:
        """How many ended with each gRPC status name."""
        return Counter(outcome.code for outcome in self.outcomes)

    @property
    def succeeded(self) -> list[Outcome]:
        """Those that were answered."""
        return [outcome for outcome in self.outcomes if outcome.code == "OK"]

    @property
    def served(self) -> float:
        """Answers a second."""
        return len(self.succeeded) / self.seconds

    @property
    def extractive(self) -> int:
        """Answers that are quotations."""
        return sum(outcome.answer.extractive for outcome in self.succeeded)

    def latency(self, quantile: float, code: str = "OK") -> float:
        """Seconds within which that share of the requests with a code ended; nan where there are none."""
        seconds = [outcome.seconds for outcome in self.outcomes if outcome.code == code]
        return float(np.quantile(seconds, quantile)) if seconds else float("nan")

    def kept(self, deadline: float) -> float:
        """Share of the accepted requests that were answered within `deadline` seconds.

        A request that is refused for want of room was not accepted; one that fails in any other way was.
        """
        accepted = [o for o in self.outcomes if o.code != "RESOURCE_EXHAUSTED"]
        in_time = [o for o in accepted if o.code == "OK" and o.seconds <= deadline]
        return len(in_time) / len(accepted) if accepted else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing; times in seconds."""
        return {
            "requests": len(self.outcomes),
            "served_per_second": round(self.served, 2),
            "codes": dict(self.codes),
            "extractive": self.extractive,
            "cached": sum(outcome.answer.cached for outcome in self.succeeded),
            **{f"p{round(100 * q)}": round(self.latency(q), 4) for q in (0.5, 0.95, 0.99)},
            "refused_p50": round(self.latency(0.5, "RESOURCE_EXHAUSTED"), 4),
        }


class Texts:
    """Five messages after another, all of them new but for a share `repeated`, which a cache may know."""

    def __init__(self, sentences: Sequence[str], *, repeated: float = 0.0, seed: int = 0) -> None:
        """`sentences` have room for one more word within the family's token limit."""
        self._sentences = sentences
        self._repeated = repeated
        self._random = random.Random(seed)
        self._number = itertools.count(seed * 1_000_000)

    def next(self) -> list[str]:
        """Messages of one request."""
        if self._random.random() < self._repeated:
            return self._messages(self._random.randrange(_KEPT), "")
        number = next(self._number)
        return self._messages(number, f" {number}")

    def _messages(self, start: int, mark: str) -> list[str]:
        count = len(self._sentences)
        return [self._sentences[(start + place) % count] + mark for place in range(5)]


def completing(client: AsyncClient, texts: Texts, **options: Any) -> Send:
    """Requests of a gateway; `options` are those of the client, such as chunks=3."""

    async def send() -> Answer:
        completion = await client.complete(texts.next(), **options)
        return Answer(
            extractive=any(chunk.extractive for chunk in completion.chunks),
            cached=all(chunk.cache_hit for chunk in completion.chunks),
            degraded=bool(completion.degraded),
        )

    return send


async def open_loop(send: Send, *, rate: float, seconds: float) -> Report:
    """Begins `rate` requests a second whatever becomes of them, as many strangers do; waits for all to end.

    Requests are to have a deadline: nothing else bounds how many are under way.
    """
    started = time.monotonic()
    outcomes: list[Outcome] = []
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(_make(send, due, started, outcomes))
    return Report(outcomes, time.monotonic() - started)


async def closed_loop(
    send: Send,
    *,
    clients: int,
    seconds: float = math.inf,
    pause: float = 0.0,
    stop: asyncio.Event | None = None,
) -> Report:
    """So many clients, each asking again `pause` seconds after it has its answer, until `stop` is set."""
    started = time.monotonic()
    outcomes: list[Outcome] = []

    async def ask() -> None:
        while (now := time.monotonic()) < started + seconds and not (stop and stop.is_set()):
            await _make(send, now, started, outcomes)
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
    return Report(outcomes, time.monotonic() - started)


async def watch_health(channel: grpc.aio.Channel, stop: asyncio.Event, *, every: float = 0.05) -> list[float]:
    """Seconds of health checks, at least one, one after another until `stop` is set.

    The channel is to be another than that of the load. Raises grpc.RpcError where a check fails or takes more
    than ten seconds, AssertionError where it does not say SERVING.
    """
    stub: Any = health_pb2_grpc.HealthStub(channel)
    seconds: list[float] = []
    while not (seconds and stop.is_set()):
        started = time.monotonic()
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        seconds.append(time.monotonic() - started)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.sleep(every)
    return seconds


def resident_mb(pid: int) -> float:
    """Memory of a process, in MiB; Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def _make(send: Send, due: float, started: float, outcomes: list[Outcome]) -> None:
    code, answer, delay = grpc.StatusCode.OK, Answer(), 0
    try:
        answer = await send()
    except NextvecError as error:
        code, delay = status_of(error), error.retry_delay_ms
    outcomes.append(Outcome(due - started, time.monotonic() - due, code.name, answer, delay))
