"""Caches of strings, and what tests ask of them."""

import asyncio

from prometheus_client import CollectorRegistry

from nextvec.cache import Cache, CacheMetrics


class Text:
    """Strings as UTF-8."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


def text_cache(url=None, entries=10_000, ttl_s=60.0, **limits):
    """A cache of strings, before the Redis at `url`, whose metrics are in its `registry`."""
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry, "toy")
    cache = Cache(Text(), metrics, entries=entries, ttl_s=ttl_s, redis_url=url, **limits)
    cache.registry = registry
    return cache


async def written(cache):
    """Until nothing is on its way to Redis."""
    if cache._writes:
        await asyncio.wait(cache._writes)


def metric(cache, name, **labels):
    """A sample of the cache's metrics, 0 where there is none yet."""
    return cache.registry.get_sample_value(f"nextvec_toy_cache_{name}", labels) or 0


async def recovered(cache):
    """Until Redis is asked again."""
    async with asyncio.timeout(20):
        while metric(cache, "breaker_open"):  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.02)


async def compute(cache, seconds=0.2, text="one"):
    """The value of "{a}", and whether it was computed here, in `seconds`."""
    async with cache.turn("{a}") as turn:
        if turn.found is not None:
            return turn.found, False
        await asyncio.sleep(seconds)
        turn.result = text
    return text, True
