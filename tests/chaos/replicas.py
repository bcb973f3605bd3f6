"""Processes of stages are killed, paused, restarted, added, and started with bad weights."""

import asyncio
import shutil
import time

from benchmarks.load import Report
from benchmarks.results import Result
from nextvec.errors import StartupError
from nextvec.routes import STAGES
from nextvec.v1.gateway_pb2 import CompleteResponse
from tests.chaos.bars import figure, held
from tests.chaos.stand import HANG_SECONDS, Load, Stand

_WITHOUT = {"snap", "decoder"}
"""Stages without which there is still an answer."""


async def killed(stand: Stand) -> list[Result]:
    """One of three decoders is killed under load, and comes back."""
    names = await stand.decoders(3)
    async with Load(stand) as load:
        await load.goes_on(12)
        moment = load.now
        await stand.kill(names[-1])
        await load.goes_on(12)
        await stand.whole()
        await load.goes_on(10)
    return [held("killed_failed", load.failed), held("killed_seconds", load.carried(moment))]


async def paused(stand: Stand) -> list[Result]:
    """One of three decoders stops where it is, and goes on later."""
    names = await stand.decoders(3)
    async with Load(stand, clients=8) as load:
        await load.goes_on(10)
        stand.deployment.pause(names[-1])
        await load.goes_on(12)
        stand.deployment.resume(names[-1])
        await load.goes_on(10)
    return [held("paused_failed", load.failed)]


async def lost(stand: Stand) -> list[Result]:
    """Every replica of a stage is killed under load, of one stage after the other, and comes back."""
    await stand.decoders(int(stand.choose(1, 2)))
    failed, seconds = 0, 0.0
    stages = ["decoder"] if stand.short else [stage.name for stage in STAGES]
    for stage in stages:
        async with Load(stand, route="amn") as load:
            moment = load.now
            await stand.kill(*stand.deployment.replicas[stage])
            await stand.whole()
            back = load.now
            await load.brings(8, like=_whole)
            seconds = max(seconds, load.now - back)
        failed += _unexplained(load.report, stage)
        assert _suffered(load, moment), f"nothing was asked of {stage} while it was away"
    return [
        held("lost_failed", failed),
        figure(
            "lost_seconds", "every replica of a stage killed: from its return to whole answers", seconds, "s"
        ),
    ]


async def restarted(stand: Stand) -> list[Result]:
    """Every stage's replicas are restarted one after the other, under load."""
    await stand.decoders(int(stand.choose(1, 2)))
    before = stand.pids()
    async with Load(stand, route="amn") as load:
        for stage in stand.deployment.replicas:
            await stand.deployment.restart(stage, HANG_SECONDS)
        await load.goes_on(10)
    after = stand.pids()
    same = [name for name in before if name != "gateway" and after.get(name) == before[name]]
    assert not same, f"not restarted: {', '.join(same)}"
    return [held("restarted_failed", load.failed)]


async def corrupt(stand: Stand) -> list[Result]:
    """A decoder is restarted whose weights have changed on disk; later they are as before."""
    names = await stand.decoders(2)
    weights = stand.artifacts / "families" / "mini" / "corrector" / "model.safetensors"
    good = weights.with_suffix(".good")
    shutil.copy(weights, good)
    started, told = 0, len(stand.news)
    async with Load(stand) as load:
        _damage(weights)
        try:
            await stand.deployment.restart("decoder", HANG_SECONDS)
            started = len(names)
        except StartupError:
            assert any(str(weights) in line for line in stand.news[told:]), "nobody is told which file it is"
        finally:
            await load.goes_on(10)
            good.replace(weights)
        await stand.whole()
        await load.goes_on(10)
    return [held("corrupt_started", started), held("corrupt_failed", load.failed)]


async def added(stand: Stand) -> list[Result]:
    """A decoder is added under load."""
    count = len(stand.deployment.replicas["decoder"])
    async with Load(stand) as load:
        new = (await stand.decoders(count + 1))[-1]
        ready = time.monotonic()
        async with asyncio.timeout(HANG_SECONDS):
            while not await _asked(stand, new):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        seconds = time.monotonic() - ready
    await stand.decoders(count)
    assert not load.failed
    return [held("replica_seconds", seconds)]


def _whole(response: CompleteResponse) -> bool:
    return not response.degraded


def _unexplained(report: Report, stage: str) -> int:
    """Requests that failed, where an answer can be had without the stage; else those not UNAVAILABLE."""
    good = {"OK"} if stage in _WITHOUT else {"OK", "UNAVAILABLE"}
    return sum(outcome.code not in good for outcome in report.outcomes)


def _suffered(load: Load, moment: float) -> bool:
    later = [outcome for outcome in load.report.outcomes if outcome.at + outcome.seconds > moment]
    return any(outcome.code != "OK" or outcome.answer.degraded for outcome in later)


def _damage(weights: object) -> None:
    """Changes bytes in the middle of a file of weights; its length and its header stay as they are."""
    with open(str(weights), "r+b") as file:
        file.seek(0, 2)
        file.seek(file.tell() // 2)
        file.write(b"\x7f" * 4096)


async def _asked(stand: Stand, process: str) -> bool:
    method = "DecoderService/Decode"
    ended = await stand.total(process, "nextvec_requests_total", method=method)
    return ended + await stand.total(process, "nextvec_requests_in_flight", method=method) > 0
