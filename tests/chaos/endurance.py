"""Long load: far too much of it, on one decoder and on two, and little of it for a long time."""

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.load import Report, Texts, closed_loop, completing, open_loop, resident_mb
from benchmarks.results import Result
from nextvec.client import AsyncClient
from tests.chaos.bars import figure, held
from tests.chaos.stand import HANG_SECONDS, SENTENCES, Stand

DEADLINE_SECONDS = 3
"""The longest that a gateway takes by default."""

_FACTOR = 5
_ROUTE = "direct"
_SAMPLE_SECONDS = 0.5


async def overload(stand: Stand) -> list[Result]:
    """Five times as many requests as can be served; every stage's health is asked meanwhile."""
    seconds = stand.choose(6, 60)
    async with AsyncClient(stand.address(_ROUTE), timeout=DEADLINE_SECONDS) as client:
        send = completing(client, Texts(SENTENCES, seed=11))
        capacity = (await closed_loop(send, clients=16, seconds=stand.choose(4, 15))).served
        stop = asyncio.Event()
        watching = asyncio.gather(_memory(stand, stop), _health(stand, seconds))
        # On a machine so busy that nothing is served in time, a few requests are too many as well.
        report = await open_loop(send, rate=_FACTOR * max(capacity, 1), seconds=seconds)
        stop.set()
        memory, health = await watching
    return [
        figure("capacity", "requests served at capacity", capacity, "per s"),
        figure("overload_served", "overload: served", report.served, "per s"),
        figure("overload_quoted", "overload: share of answers that are quotations", _quoted(report), ""),
        held("overload_kept", report.kept(DEADLINE_SECONDS)),
        held("overload_growth", max(max(series) - series[0] for series in memory.values())),
        held("overload_health", 1000 * max(health)),
    ]


async def throughput(stand: Stand) -> list[Result]:
    """Answers a second of one decoder and of two, by turns; both have full batches."""
    served: dict[int, list[float]] = {1: [], 2: []}
    async with AsyncClient(stand.address(_ROUTE), timeout=HANG_SECONDS) as client:
        # Few texts, so that encoding is done once; the decoder is to leave its cache alone.
        texts = Texts(SENTENCES, repeated=1)
        send = completing(client, texts, bypass_cache=True)
        for _ in range(int(stand.choose(1, 3))):
            for count, figures in served.items():
                await stand.decoders(count)
                await closed_loop(send, clients=64, seconds=stand.choose(2, 5))
                figures.append((await closed_loop(send, clients=64, seconds=stand.choose(4, 20))).served)
    one, two = (statistics.median(figures) for figures in served.values())
    return [
        figure("throughput_1", "1 decoder of one thread", one, "per s"),
        figure("throughput_2", "2 decoders of one thread", two, "per s"),
        held("throughput", two / one),
    ]


async def soak(stand: Stand) -> list[Result]:
    """Requests that the cache knows and a few that it does not, for a long time."""
    warm_up, seconds = stand.choose(4, 120), stand.choose(10, 600)
    async with AsyncClient(stand.address("amn"), timeout=HANG_SECONDS) as client:
        known = completing(client, Texts(SENTENCES, repeated=1))
        new = completing(client, Texts(SENTENCES, seed=12))

        async def load(seconds: float) -> list[Report]:
            return await asyncio.gather(
                open_loop(known, rate=stand.choose(10, 50), seconds=seconds),
                open_loop(new, rate=stand.choose(1, 5), seconds=seconds),
            )

        await load(warm_up)
        stop = asyncio.Event()
        watching = asyncio.create_task(_memory(stand, stop))
        reports = await load(seconds)
        stop.set()
        memory = await watching
    outcomes = [outcome for report in reports for outcome in report.outcomes]
    hits = sum(outcome.answer.cached for outcome in outcomes)
    return [
        figure("soak_served", "soak: served", len(outcomes) / max(r.seconds for r in reports), "per s"),
        figure("soak_cached", "soak: share of answers from the cache", hits / len(outcomes), ""),
        held("soak_failed", sum(outcome.code != "OK" or outcome.answer.degraded for outcome in outcomes)),
        held("soak_growth", 100 * max(_growth(series) for series in memory.values())),
    ]


def _growth(series: Sequence[float]) -> float:
    """By what share the last fifth of a series lies above the first."""
    fifth = max(1, len(series) // 5)
    return float(np.mean(series[-fifth:]) / np.mean(series[:fifth]) - 1)


def _quoted(report: Report) -> float:
    return report.extractive / len(report.succeeded) if report.succeeded else 0.0


async def _memory(stand: Stand, stop: asyncio.Event) -> Mapping[str, list[float]]:
    """MiB of every process, again and again until `stop` is set."""
    pids = stand.pids()
    series: dict[str, list[float]] = {name: [resident_mb(pid)] for name, pid in pids.items()}
    while not stop.is_set():
        await asyncio.sleep(_SAMPLE_SECONDS)
        for name, pid in pids.items():
            series[name].append(resident_mb(pid))
    return series


async def _health(stand: Stand, seconds: float) -> list[float]:
    """Seconds of health checks of the gateway and of every stage.

    They are asked by a process of its own: that of the load is late itself, as busy as it is.
    """
    addresses = [stand.address(name) for name in (_ROUTE, *stand.deployment.replicas)]
    command = (sys.executable, "-m", "tests.chaos.health", str(seconds), *addresses)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0, "health could not be asked"
    found: list[float] = json.loads(told)
    return found
