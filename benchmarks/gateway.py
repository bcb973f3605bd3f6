"""Whole requests through a running system: the first time, repeated, and what the gateway itself adds."""

import asyncio
import time

from benchmarks.harness import Options, Spread, speedup
from benchmarks.results import Result, figure, held
from benchmarks.systems import Systems
from benchmarks.texts import paragraphs
from nextvec.client import AsyncClient
from nextvec.errors import NextvecError, StageUnavailable
from nextvec.v1.gateway_pb2 import CompleteResponse

_TEXTS = 20
_REPEATS = 5


def run(options: Options, systems: Systems) -> list[Result]:
    """Start of a decoder, then every text on the first route that answers, once and again."""
    return asyncio.run(_measure(options, systems))


async def _measure(options: Options, systems: Systems) -> list[Result]:
    options.say("gateway: starting the decoder alone")
    starts = [await systems.decoder() for _ in range(options.rounds(3))]
    results = [held("decoder_start", Spread.of(starts))]
    options.say("gateway: starting the whole system")
    async with systems.whole() as addresses:
        route = await _answering(addresses, options)
        texts = paragraphs(options.artifacts, 3 if options.quick else _TEXTS)
        async with AsyncClient(addresses[route]) as client:
            return results + await _requests(client, route, texts, options)


async def _answering(addresses: dict[str, str], options: Options) -> str:
    """The first route that answers; its request also opens connections and loads what is loaded late."""
    problems = []
    for route, address in addresses.items():
        async with AsyncClient(address) as client:
            try:
                await client.complete("The kettle began to sing. She took it off the stove.")
                return route
            except NextvecError as error:
                problems.append(f"{route}: {error.message}")
                options.say(f"gateway: no answer from {problems[-1]}")
    raise StageUnavailable(f"no route answers; {'; '.join(problems)}")


async def _requests(client: AsyncClient, route: str, texts: list[str], options: Options) -> list[Result]:
    first, again, overhead = [], [], []
    options.say(f"gateway: {len(texts)} texts on route {route}, each {1 + _REPEATS} times")
    for text in texts:
        seconds, response = await _timed(client, text)
        repeats = [await _timed(client, text) for _ in range(_REPEATS)]
        missed = [r for _, r in repeats if not all(chunk.cache_hit for chunk in r.chunks)]
        if missed:
            options.say("gateway: a repeated request was decoded anew; its time counts as a repeated one's")
        first.append(seconds)
        again.append(Spread.of([seconds for seconds, _ in repeats]).median)
        overhead += [_without_stages(r) for r in (response, *(r for _, r in repeats))]
    name, shown = f"route {route}", Spread.of(first).times(1000)
    return [
        figure("gateway_first", "gateway", f"a request, the first time; {name}", shown, "ms"),
        held("gateway_repeat", Spread.of(again).times(1000), name),
        held("gateway_repeat_speedup", speedup(first, again), name),
        held("gateway_overhead", Spread.of(overhead), name),
    ]


async def _timed(client: AsyncClient, text: str) -> tuple[float, CompleteResponse]:
    """Seconds as the client sees them."""
    started = time.perf_counter()
    completion = await client.complete(text)
    return time.perf_counter() - started, completion.response


def _without_stages(response: CompleteResponse) -> float:
    """Milliseconds at the gateway that no stage queued or computed in: its own, and the connections'."""
    return response.total_ms - sum(timing.queue_ms + timing.compute_ms for timing in response.timings)
