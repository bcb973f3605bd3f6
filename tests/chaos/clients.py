"""Clients that take all file handles, never finish, send nonsense, or go away."""

import asyncio
import contextlib
import math
import resource
from collections.abc import AsyncGenerator

import psutil

from benchmarks.load import resident_mb
from benchmarks.results import Result
from nextvec.client import AsyncClient
from nextvec.errors import DeadlineExceeded
from nextvec.v1.gateway_pb2 import GenerateResponse
from tests.chaos import raw
from tests.chaos.bars import figure, held
from tests.chaos.stand import HANG_SECONDS, SENTENCES, Load, Stand
from tests.security.fuzz import fuzz

_ROUTE = "direct"
_LEFT = 16
"""File handles that the gateway is left with."""

_STEPS = 50
_SEEN = 6
"""Corrections after which a client goes."""

_MARGIN = 8
"""File handles of the gateway that come and go by themselves."""


async def handles(stand: Stand) -> list[Result]:
    """The gateway runs out of file handles, and has them back."""
    gateway = psutil.Process(stand.pids()["gateway"])
    limits = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    async with Load(stand, route=_ROUTE) as load:
        used = gateway.num_fds()
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (used + _LEFT, limits[1]))
        try:
            with raw.connections(stand.address(_ROUTE), 4 * _LEFT, [b""]):
                await load.goes_on(20)
                assert gateway.num_fds() >= used + _LEFT - 1, "the gateway had handles left"
        finally:
            resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, limits)
        await _answers(stand)
    return [held("handles_failed", load.failed)]


async def slow(stand: Stand) -> list[Result]:
    """Clients connect and send nothing, half a request, a byte at a time, or never read the answer."""
    gateway = psutil.Process(stand.pids()["gateway"])
    address = stand.address(_ROUTE)
    async with Load(stand, route=_ROUTE) as load:
        before = gateway.num_fds()
        count = int(stand.choose(40, 200))
        with raw.connections(address, count, [*raw.unfinished(), raw.unread()]):
            async with raw.dripping(address, count // 4):
                await load.goes_on(int(stand.choose(20, 200)))
                await _answers(stand)
        async with asyncio.timeout(HANG_SECONDS):
            while gateway.num_fds() > before + _MARGIN:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return [held("slow_failed", load.failed)]


async def nonsense(stand: Stand) -> list[Result]:
    """Fuzzed messages on every RPC of every process."""
    count = int(stand.choose(1000, 100_000))
    async with AsyncClient(stand.address(_ROUTE), timeout=HANG_SECONDS) as client:
        space = (await client.complete(SENTENCES[0])).response.space
    logged = len(stand.bugs())
    # Caches and allocators fill first.
    await fuzz(stand, space, count // 5, seed=2)
    pids = stand.pids()
    before = {name: resident_mb(pid) for name, pid in pids.items()}
    report = await fuzz(stand, space, count, seed=1)
    growth = max(resident_mb(pid) - before[name] for name, pid in pids.items() if psutil.pid_exists(pid))
    await _answers(stand)
    deaths = sum(pid != pids[name] for name, pid in stand.pids().items())
    return [
        figure("fuzz_messages", "fuzzed messages over all RPCs", report.sent, "messages"),
        held("fuzz_failed", len(report.bad)),
        held("fuzz_bugs", len(stand.bugs()) - logged),
        held("fuzz_deaths", deaths),
        held("fuzz_growth", growth),
    ]


async def gone(stand: Stand) -> list[Result]:
    """A client goes in the middle of a long decoding, and another's time is over."""
    await stand.decoders(1)
    per_step = 0.0
    cancelled, expired = [], []
    for number in range(int(stand.choose(2, 10))):
        begun = await _passes(stand)
        steps = await _decode(stand, f"cancelled {number}", until=_SEEN)
        assert steps == _SEEN, "the decoding ended by itself"
        at_once = await _passes(stand)
        per_step = max(per_step, (at_once - begun) / steps)
        cancelled.append(await _settled(stand) - at_once)
        timeout = 0.3
        # One that expires before the decoder has begun shows nothing, and neither does one that the decoder
        # had no time for, which the gateway answers without it.
        while not await _decode(stand, f"expired {number}", timeout=timeout):
            timeout *= 2
        at_once = await _passes(stand)
        expired.append(await _settled(stand) - at_once)
    return [
        figure("passes_per_step", "decoder passes of one correction step", per_step, "passes"),
        held("cancelled_steps", max(cancelled) / per_step),
        held("expired_steps", max(expired) / per_step),
    ]


async def _decode(stand: Stand, mark: str, *, until: float = math.inf, timeout: float = HANG_SECONDS) -> int:
    """Asks for too much; leaves after `until` corrections or `timeout` seconds, and returns how many."""
    steps = 0
    async with (
        AsyncClient(stand.address(_ROUTE), timeout=timeout) as client,
        contextlib.aclosing(_events(client, f"{SENTENCES[0]} {mark}.")) as events,
    ):
        async for event in events:
            steps += event.hypothesis.hypothesis.step > 0
            if steps >= until:
                break
    return steps


async def _events(client: AsyncClient, text: str) -> AsyncGenerator[GenerateResponse]:
    """What happens until the answer is there or its time is over."""
    with contextlib.suppress(DeadlineExceeded):
        async for event in client.generate(text, chunks=16, rungs=[_STEPS], bypass_cache=True):
            yield event


async def _passes(stand: Stand) -> float:
    return await stand.total("decoder", "nextvec_decoder_correction_passes_total")


async def _settled(stand: Stand) -> float:
    """Passes once there are no more of them."""
    latest = await _passes(stand)
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            await asyncio.sleep(0.5)
            now = await _passes(stand)
            if now == latest:
                return now
            latest = now


async def _answers(stand: Stand) -> None:
    """A client that was not there before is answered."""
    async with AsyncClient(stand.address(_ROUTE), timeout=HANG_SECONDS) as client:
        completion = await client.complete(SENTENCES[1])
    assert completion.text
    assert not completion.degraded
