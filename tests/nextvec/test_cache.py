"""The cache alone, before a real Redis, and before a Redis that is down, slow or wrong."""

import asyncio
import time

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from nextvec.cache import Breaker, Cache, CacheMetrics


class Text:
    """Strings as UTF-8."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


@pytest.fixture
async def make():
    """`make(redis_url)`: caches that are closed in the end."""
    caches = []

    def build(url=None, entries=100, ttl_s=60.0):
        metrics = CacheMetrics(CollectorRegistry(), "toy")
        caches.append(Cache(Text(), metrics, entries=entries, ttl_s=ttl_s, redis_url=url))
        return caches[-1]

    yield build
    for cache in caches:
        await cache.close()


async def written(cache):
    await asyncio.wait(cache._writes)


async def test_without_redis_the_process_keeps_what_was_put(make):
    cache = make()
    assert cache.peek("a") is None
    assert await cache.fetch(["a"]) == [None]
    cache.put("a", "one")
    assert cache.peek("a") == "one"


async def test_the_entry_used_longest_ago_goes_first(make):
    cache = make(entries=2)
    cache.put("a", "one")
    cache.put("b", "two")
    cache.peek("a")
    cache.put("c", "three")
    assert [cache.peek(key) for key in "abc"] == ["one", None, "three"]


async def test_an_entry_ends_after_its_time(make):
    cache = make(ttl_s=0.02)
    cache.put("a", "one")
    assert cache.peek("a") == "one"
    await asyncio.sleep(0.03)
    assert cache.peek("a") is None


async def test_another_process_finds_it_in_redis(make, redis_process):
    one, other = make(redis_process.url), make(redis_process.url)
    one.put("a", "one")
    one.put("b", "two")
    await written(one)
    assert other.peek("a") is None
    assert await other.fetch(["a", "x", "b"]) == ["one", None, "two"]
    assert other.peek("a") == "one"


async def test_keys_ahead_come_along_uncounted_and_not_where_the_process_has_them(make, redis_process):
    one, other = make(redis_process.url), make(redis_process.url)
    for key in "abc":
        one.put(key, f"{key} of Redis")
    await written(one)
    other._keep("b", "b of the process")
    assert await other.fetch(["a"], ahead=["b", "c", "x"]) == ["a of Redis"]
    hits = other._metrics.hits.labels("redis")._value.get()
    assert (hits, other._metrics.misses._value.get()) == (1, 0)
    assert [other.peek(key) for key in "bcx"] == ["b of the process", "c of Redis", None]


async def test_entries_in_redis_end_too(make, redis_process):
    cache = make(redis_process.url, ttl_s=0.05)
    cache.put("a", "one")
    await written(cache)
    await asyncio.sleep(0.1)
    assert redis_process.keys() == 0


async def test_garbage_and_entries_of_other_keys_are_misses(make, redis_process):
    cache = make(redis_process.url)
    cache.put("a", "one")
    await written(cache)
    client = redis.asyncio.Redis.from_url(redis_process.url)
    await client.set("b", await client.get("a"))
    await client.set("c", b"garbage")
    await client.set("d", b"")
    await client.set("e", (await client.get("a"))[:-1])
    await client.aclose()
    assert await make(redis_process.url).fetch(list("abcde")) == ["one", None, None, None, None]


async def test_redis_down_at_the_start_costs_nothing_but_the_hit(make, redis_process):
    redis_process.stop()
    cache = make(redis_process.url)
    cache.put("a", "one")
    started = time.monotonic()
    for _ in range(50):
        assert await cache.fetch(["b"]) == [None]
    assert time.monotonic() - started < 1
    assert cache.peek("a") == "one"


async def test_redis_going_down_and_coming_back_is_noticed(make, redis_process):
    cache = make(redis_process.url)
    cache._breaker = Breaker(failures=2, pause_s=0.05)
    redis_process.stop()
    for _ in range(4):
        assert await cache.fetch(["a"]) == [None]
    assert cache._breaker.failing
    redis_process.start()
    await asyncio.sleep(0.3)
    cache.put("a", "one")
    await written(cache)
    assert not cache._breaker.failing
    assert await make(redis_process.url).fetch(["a"]) == ["one"]


async def test_a_slow_redis_is_given_up_on(make):
    async def swallow(reader, writer):
        await reader.read()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    cache = make(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    started = time.monotonic()
    for _ in range(20):
        assert await cache.fetch(["a"]) == [None]
    assert time.monotonic() - started < 1, "three timeouts, and then the breaker is open"
    server.close()


async def test_what_is_no_redis_at_all_is_a_miss(make):
    async def babble(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    cache = make(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await cache.fetch(["a"]) == [None]
    server.close()


async def test_a_hit_in_the_process_takes_microseconds(make):
    cache = make()
    cache.put("a", "one")
    started = time.perf_counter()
    for _ in range(1000):
        cache.peek("a")
    assert (time.perf_counter() - started) / 1000 < 100e-6


def test_a_breaker_opens_after_failures_in_a_row_and_tries_one_call_after_a_pause():
    breaker = Breaker(failures=2, pause_s=0.02)
    breaker.fail()
    assert breaker.allow()
    breaker.fail()
    assert breaker.open
    assert not breaker.allow()
    time.sleep(0.03)
    assert breaker.allow(), "the trial"
    assert not breaker.allow(), "nobody else while it lasts"
    breaker.succeed()
    assert breaker.allow()
    assert breaker.allow()


def test_a_breaker_waits_longer_after_every_failed_trial():
    breaker = Breaker(failures=1, pause_s=0.01, longest_s=0.02)
    pauses = []
    for _ in range(4):
        breaker.fail()
        pauses.append(breaker._until - time.monotonic())
    assert pauses == pytest.approx([0.01, 0.02, 0.02, 0.02], abs=0.005)
