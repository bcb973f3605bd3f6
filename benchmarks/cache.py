"""What a decoded vector costs when it is known: in the process, and in a Redis on this machine."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.harness import Options, Spread, repeated
from benchmarks.redis_process import RedisProcess
from benchmarks.results import Result, figure, held
from benchmarks.texts import sentences
from nextvec.cache import Cache, CacheMetrics
from nextvec.errors import InternalError
from nextvec.family import Family
from nextvec.vectors import Array
from services.decoder.cache import Keys, StandingCodec
from services.decoder.engine import Engine
from services.decoder.ladder import Ladder, Order
from services.decoder.metrics import DecoderMetrics
from services.decoder.quotations import Quotations
from services.decoder.scheduler import Scheduler
from services.decoder.walk import Standing

Call = Callable[[], Awaitable[None]]

_VECTORS = 16
_ROUNDS = 2000
_RUNG = 1
_HOUR = 3600.0


def run(options: Options) -> list[Result]:
    """Real vectors, decoded once; then each found again, by the vector."""
    family = Family.open(options.family, options.artifacts / "families")
    engine = Engine.load(family, slots=_VECTORS)
    texts = sentences(options.artifacts, family, 4 if options.quick else _VECTORS)
    options.say(f"cache: decoding {len(texts)} vectors, then finding them again")
    with (
        TemporaryDirectory(prefix="nextvec-bench-") as folder,
        RedisProcess(Path(folder)) as redis,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,  # as servers run
    ):
        return runner.run(_measure(family, engine, texts, redis.url, options))


async def _measure(
    family: Family, engine: Engine, texts: list[str], url: str, options: Options
) -> list[Result]:
    vectors = engine.embed(texts).numpy()
    keys = Keys(family.space, engine.digest)
    scheduler = Scheduler(engine, queue_limit=len(texts))
    metrics = DecoderMetrics(CollectorRegistry(), engine.passes)

    def ladder(cache: Cache[Standing]) -> Ladder:
        return Ladder(keys, scheduler, cache, Quotations(family, engine.embed), metrics)

    orders = [Order(vector, source=text, rungs=(_RUNG,)) for vector, text in zip(vectors, texts, strict=True)]
    first = _cache(url, entries=1000)
    for order in orders:
        await ladder(first).climb(order)
    await first.close()  # which finishes what is on its way to Redis
    near, far = _cache(url, entries=1000), _cache(url, entries=1)
    results = [
        held("cache_process", await _timed(_looking(near, keys, vectors), options)),
        held("cache_redis", await _timed(_looking(far, keys, vectors), options)),
    ]
    for name, where, cache in (("process", "in the process", near), ("redis", "in Redis", far)):
        spread = await _timed(_climbing(ladder(cache), orders), options)
        what = f"hit {where}, with the checks run again"
        results.append(figure(f"cache_{name}_decode", "cache", what, spread, "ms"))
    await scheduler.close()
    for cache in (near, far):
        await cache.close()
    return results


def _looking(cache: Cache[Standing], keys: Keys, vectors: Array) -> Call:
    """From a vector to its entry, as the ladder goes; vectors take turns, so that a cache of one has none."""
    turns = itertools.cycle(np.ascontiguousarray(vectors))

    async def look() -> None:
        key = keys.at(keys.of(next(turns)), _RUNG)
        known = cache.peek(key)
        if known is None:
            (known,) = await cache.fetch([key])
        if known is None:
            raise InternalError(
                "a vector that was decoded is not in the cache; the figures would be of misses"
            )

    return look


def _climbing(ladder: Ladder, orders: list[Order]) -> Call:
    turns = itertools.cycle(orders)

    async def climb() -> None:
        await ladder.climb(next(turns))

    return climb


async def _timed(call: Call, options: Options) -> Spread:
    rounds = options.rounds(_ROUNDS)
    return Spread.of(await repeated(call, rounds, warmup=rounds // 10)).times(1000)


def _cache(url: str, entries: int) -> Cache[Standing]:
    """A cache before Redis; with one entry, what it is asked for is in Redis and nowhere nearer."""
    metrics = CacheMetrics(CollectorRegistry(), "bench")
    return Cache(StandingCodec(), metrics, entries=entries, ttl_s=_HOUR, redis_url=url)
