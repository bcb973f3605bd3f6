"""Throughput by the number of decoders, where the time goes as the load grows, and what is lost meanwhile.

The load is on the route `direct`, which leaves out prediction and snap: what is scaled is the decoder, and on
two cores every other process takes time from it. Each request is a text that was not there before.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack

from benchmarks import machine
from benchmarks.harness import Options, Spread, speedup
from benchmarks.load import Answer, Report, Send, Texts, closed_loop
from benchmarks.results import Result, figure, held
from benchmarks.systems import Scalable, Systems
from benchmarks.texts import sentences
from nextvec.client import AsyncClient
from nextvec.errors import StartupError
from nextvec.family import Family
from nextvec.v1.gateway_pb2 import StageTiming

_ROUTE = "direct"
_SATURATING = 16
"""Clients that keep two decoders busy, with batches to fill."""

_LOADS = (1, 4, _SATURATING)
_ROUNDS = 3
_SECONDS, _QUICK_SECONDS = 10.0, 2.0
_WARMUP_SECONDS = 2.0
_SEEDS = 1000
_MARK_TOKENS = 8
"""Room for the number that makes a sentence new."""


class Recorder:
    """Requests of one gateway, and the stages' times of those that were answered."""

    def __init__(self, client: AsyncClient, texts: Texts) -> None:
        self.timings: list[StageTiming] = []
        self._client = client
        self._texts = texts

    async def send(self) -> Answer:
        """Makes one request, of a text's five messages; raises a NextvecError where it fails."""
        completion = await self._client.complete(self._texts.next())
        self.timings += completion.response.timings
        return Answer(
            extractive=any(chunk.extractive for chunk in completion.chunks),
            cached=all(chunk.cache_hit for chunk in completion.chunks),
            degraded=bool(completion.degraded),
        )


def run(options: Options, systems: Systems) -> list[Result]:
    """One decoder and two in turn, then growing loads on two."""
    return asyncio.run(_measure(options, systems))


def against(address: str, clients: int, seconds: float, options: Options) -> list[Result]:
    """A load on a system that runs already, on the route of the port at `address`."""
    return asyncio.run(_against(address, clients, seconds, options))


async def _measure(options: Options, systems: Systems) -> list[Result]:
    texts = _texts(options)
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    reports: list[Report] = []
    results: list[Result] = []
    options.say("scale: starting the whole system")
    async with systems.scalable() as system, AsyncExitStack() as stack:
        client = await stack.enter_async_context(AsyncClient(system.addresses[_ROUTE]))
        results += await _ratio(system, Recorder(client, texts).send, seconds, reports, options)
        await system.decoders(2)
        for clients in _LOADS:
            options.say(f"scale: {clients} clients, 2 decoders, {seconds:g} s")
            recorder = Recorder(client, texts)
            report = await closed_loop(recorder.send, clients=clients, seconds=seconds)
            reports.append(report)
            title = f"route {_ROUTE}, 2 decoders, {_people(clients)}"
            results += _figures(f"scale_clients{clients}", title, report, recorder.timings)
    return [*results, *_losses(reports)]


async def _ratio(
    system: Scalable, send: Send, seconds: float, reports: list[Report], options: Options
) -> list[Result]:
    """Answers a second with one decoder and with two, in turns; every second turn the other way round."""
    served: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(1 if options.quick else _ROUNDS):
        for count in (1, 2)[:: -1 if turn % 2 else 1]:
            await system.decoders(count)
            options.say(f"scale: {_SATURATING} clients, {_decoders(count)}, {seconds:g} s")
            # Its speed does not count, but its losses do: right after a change is where they are likeliest.
            warmup = await closed_loop(send, clients=_SATURATING, seconds=_WARMUP_SECONDS)
            report = await closed_loop(send, clients=_SATURATING, seconds=seconds)
            reports += [warmup, report]
            served[count].append(report.served)
    results = [
        figure(
            f"scale_decoders{count}",
            "scale",
            f"route {_ROUTE}, {_decoders(count)}, {_SATURATING} clients",
            Spread.of(found),
            "answers/s",
        )
        for count, found in served.items()
    ]
    ratio = speedup(served[2], served[1])
    if machine.cores() < 2:
        options.say("scale: one core; two decoders cannot do more than one, and are held to no bar")
        return [*results, figure("scale_one_core", "scale", "2 decoders / 1, on one core", ratio, "×")]
    return [*results, held("scale_two_decoders", ratio)]


async def _against(address: str, clients: int, seconds: float, options: Options) -> list[Result]:
    async with AsyncClient(address) as client:
        recorder = Recorder(client, _texts(options))
        options.say(f"scale: {_people(clients)} at {address}, {seconds:g} s")
        report = await closed_loop(recorder.send, clients=clients, seconds=seconds)
    for code, count in sorted(report.codes.items()):
        if code != "OK":
            options.say(f"scale: {count} requests ended with {code}")
    return [
        *_figures("scale", f"{address}, {_people(clients)}", report, recorder.timings),
        *_losses([report]),
    ]


def _figures(start: str, title: str, report: Report, timings: Sequence[StageTiming]) -> list[Result]:
    """Answers a second and their latency, and for each stage the wait in its queue and its work."""
    results = [figure(f"{start}_served", "scale", f"{title}: served", report.served, "answers/s")]
    if not report.succeeded:
        return results
    for quantile in (0.5, 0.95, 0.99):
        percent = round(100 * quantile)
        milliseconds = 1000 * report.latency(quantile)
        results.append(
            figure(f"{start}_p{percent}", "scale", f"{title}: {percent}% within", milliseconds, "ms")
        )
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for timing in timings:
        times[timing.stage, "queue"].append(timing.queue_ms)
        times[timing.stage, "compute"].append(timing.compute_ms)
    for (stage, part), found in times.items():
        what = f"{title}: {stage}, {part}"
        results.append(figure(f"{start}_{stage}_{part}", "scale", what, Spread.of(found), "ms"))
    return results


def _losses(reports: Sequence[Report]) -> list[Result]:
    """Requests of all loads that failed, and those that were answered with less than was asked for."""
    failed = sum(len(report.outcomes) - len(report.succeeded) for report in reports)
    degraded = sum(outcome.answer.degraded for report in reports for outcome in report.succeeded)
    total = f"of {sum(len(report.outcomes) for report in reports):,}"
    return [held("scale_failed", failed, total), held("scale_degraded", degraded, total)]


def _texts(options: Options) -> Texts:
    """Sentences with room for a number, new in every run: a system that runs may know those of the last."""
    family = Family.open(options.family, options.artifacts / "families")
    most = family.token_limit - _MARK_TOKENS
    known = sentences(options.artifacts, family, 1000)
    counts = family.count_tokens(known)
    found = [text for text, count in zip(known, counts, strict=True) if count <= most]
    if not found:
        raise StartupError(f"no sample sentence has {most} tokens or fewer; the load would have no texts")
    return Texts(found, seed=random.randrange(_SEEDS))


def _decoders(count: int) -> str:
    return "1 decoder" if count == 1 else f"{count} decoders"


def _people(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
