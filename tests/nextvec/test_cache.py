"""The cache alone, before a real Redis, and before a Redis that is down, slow or wrong."""

import asyncio
import time

import redis.asyncio

from nextvec.cache import BATCH, MAX_ENTRY_BYTES
from tests.nextvec.caches import metric, recovered, written


async def test_without_redis_the_process_keeps_what_was_put(cache_at):
    cache = cache_at()
    assert cache.peek("a") is None
    assert await cache.fetch(["a"]) == [None]
    cache.put({"a": "one"})
    assert cache.peek("a") == "one"


async def test_the_entry_used_longest_ago_goes_first(cache_at):
    cache = cache_at(entries=2)
    cache.put({"a": "one"})
    cache.put({"b": "two"})
    cache.peek("a")
    cache.put({"c": "three"})
    assert [cache.peek(key) for key in "abc"] == ["one", None, "three"]


async def test_an_entry_ends_after_its_time(cache_at):
    cache = cache_at(ttl_s=0.02)
    cache.put({"a": "one"})
    assert cache.peek("a") == "one"
    await asyncio.sleep(0.03)
    assert cache.peek("a") is None


async def test_another_process_finds_it_in_redis(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    one.put({"a": "one"})
    one.put({"b": "two"})
    await written(one)
    assert other.peek("a") is None
    assert await other.fetch(["a", "x", "b"]) == ["one", None, "two"]
    assert other.peek("a") == "one"


async def test_keys_ahead_come_along_uncounted_and_not_where_the_process_has_them(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    for key in "abc":
        one.put({key: f"{key} of Redis"})
    await written(one)
    other._keep("b", "b of the process", 16)
    assert await other.fetch(["a"], ahead=["b", "c", "x"]) == ["a of Redis"]
    assert (metric(other, "hits_total", tier="redis"), metric(other, "misses_total")) == (1, 0)
    assert [other.peek(key) for key in "bcx"] == ["b of the process", "c of Redis", None]


async def test_entries_in_redis_end_too(cache_at, redis_process):
    cache = cache_at(redis_process.url, ttl_s=0.05)
    cache.put({"a": "one"})
    await written(cache)
    await asyncio.sleep(0.1)
    assert redis_process.keys() == 0


async def test_garbage_and_entries_of_other_keys_are_misses(cache_at, redis_process):
    cache = cache_at(redis_process.url)
    cache.put({"a": "one"})
    await written(cache)
    client = redis.asyncio.Redis.from_url(redis_process.url)
    await client.set("b", await client.get("a"))
    await client.set("c", b"garbage")
    await client.set("d", b"")
    await client.set("e", (await client.get("a"))[:-1])
    await client.aclose()
    other = cache_at(redis_process.url)
    assert await other.fetch(list("abcde")) == ["one", None, None, None, None]
    assert metric(other, "rejected_total") == 4
    assert metric(other, "breaker_open") == 0, "a Redis that answers garbage still answers"


async def test_a_poisoned_entry_is_computed_anew_and_replaced(cache_at, redis_process):
    client = redis.asyncio.Redis.from_url(redis_process.url)
    await client.set("a", b"poison")
    cache = cache_at(redis_process.url)
    assert await cache.fetch(["a"]) == [None]
    async with cache.turn("a") as turn:
        assert turn.found is None
        turn.result = "one"
    await written(cache)
    assert await cache_at(redis_process.url).fetch(["a"]) == ["one"]
    await client.aclose()


async def test_redis_down_at_the_start_costs_nothing_but_the_hit(cache_at, redis_process):
    redis_process.stop()
    cache = cache_at(redis_process.url)
    cache.put({"a": "one"})
    started = time.monotonic()
    for _ in range(50):
        assert await cache.fetch(["b"]) == [None]
    assert time.monotonic() - started < 1
    assert metric(cache, "redis_failures_total") == 1
    assert cache.peek("a") == "one"


async def test_redis_going_down_and_coming_back_is_noticed(cache_at, redis_process):
    cache = cache_at(redis_process.url)
    await cache.connect()
    redis_process.stop()
    for _ in range(4):
        assert await cache.fetch(["a"]) == [None]
    assert metric(cache, "redis_failures_total") == 1
    redis_process.start()
    await recovered(cache)
    cache.put({"a": "one"})
    await written(cache)
    assert await cache_at(redis_process.url).fetch(["a"]) == ["one"]


async def test_a_redis_that_stops_for_two_seconds_costs_one_timeout(cache_at, redis_process):
    cache = cache_at(redis_process.url, redis_timeout_s=0.1)
    cache.put({"a": "one"})
    await written(cache)
    cache._near.clear()
    client = redis.asyncio.Redis.from_url(redis_process.url)
    await client.client_pause(2000)
    before = time.monotonic()
    for _ in range(20):
        assert await cache.fetch(["a"]) == [None]
    async with cache.turn("b") as turn:
        assert turn.found is None
    assert time.monotonic() - before < 0.5, "twenty-one calls, of which the first waits for 0.1 s"
    assert metric(cache, "redis_failures_total") == 1
    assert metric(cache, "breaker_open") == 1
    await recovered(cache)
    assert await cache.fetch(["a"]) == ["one"]
    await client.aclose()


async def test_calls_at_the_same_time_wait_for_a_slow_redis_together(cache_at, redis_process):
    cache = cache_at(redis_process.url, redis_timeout_s=0.1)
    await cache.connect()
    client = redis.asyncio.Redis.from_url(redis_process.url)
    await client.client_pause(500)
    before = time.monotonic()
    assert await asyncio.gather(*(cache.fetch(["a"]) for _ in range(20))) == [[None]] * 20
    assert time.monotonic() - before < 0.4
    await client.aclose()


async def test_a_burst_of_calls_is_no_failure_of_redis(cache_at, redis_process):
    cache = cache_at(redis_process.url, redis_timeout_s=10)
    found = await asyncio.gather(*(cache.fetch([f"key {number}"]) for number in range(300)))
    assert found == [[None]] * 300
    assert metric(cache, "redis_failures_total") == 0


async def test_what_is_no_redis_at_all_is_a_miss(cache_at):
    async def babble(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    cache = cache_at(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await cache.connect()
    assert await cache.fetch(["a"]) == [None]
    assert metric(cache, "breaker_open") == 1
    server.close()


async def test_the_size_in_bytes_is_bounded_and_told(cache_at):
    cache = cache_at(max_bytes=1000)
    cache.put({str(number): "x" * 192 for number in range(8)})
    assert (metric(cache, "entries"), metric(cache, "bytes")) == (5, 1000), "192 bytes and the checksum, each"
    assert metric(cache, "evicted_total") == 3
    assert [cache.peek(str(number)) is not None for number in range(8)] == [False] * 3 + [True] * 5
    cache.put({"7": "shorter"})
    assert metric(cache, "bytes") == 800 + 8 + 7


async def test_an_entry_that_is_too_large_is_kept_nowhere(cache_at, redis_process):
    cache = cache_at(redis_process.url)
    cache.put({"a": "x" * (MAX_ENTRY_BYTES + 1), "b": "one"})
    await written(cache)
    assert [cache.peek(key) for key in "ab"] == [None, "one"]
    assert metric(cache, "oversized_total") == 1
    assert redis_process.keys() == 1


async def test_many_entries_are_read_and_written_in_batches(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    texts = {f"key {number}": f"text {number}" for number in range(7 * BATCH + 1)}
    one.put(texts)
    await written(one)
    assert metric(one, "redis_seconds_count", call="write") == 8
    assert metric(one, "dropped_writes_total") == 0
    assert await other.fetch(list(texts)) == list(texts.values())
    assert metric(other, "redis_seconds_count", call="read") == 8


async def test_every_metric_of_use_moves(cache_at, redis_process):
    cache = cache_at(redis_process.url)
    assert await cache.fetch(["a"]) == [None]
    async with cache.turn("a") as turn:
        turn.result = "one"
    await written(cache)
    assert cache.peek("a") == "one"
    cache._near.clear()
    assert await cache.fetch(["a"]) == ["one"]
    assert metric(cache, "misses_total") == 1
    assert metric(cache, "hits_total", tier="process") == 1
    assert metric(cache, "hits_total", tier="redis") == 1
    assert metric(cache, "entries") == 1
    for call, count in (("read", 2), ("write", 1), ("lock", 2)):
        assert metric(cache, "redis_seconds_count", call=call) == count
        assert 0 < metric(cache, "redis_seconds_sum", call=call) < 1
    redis_process.stop()
    cache.put({"b": "two"})
    await written(cache)
    assert metric(cache, "redis_failures_total") == 1
    assert metric(cache, "dropped_writes_total") == 1
    assert metric(cache, "breaker_open") == 1


async def test_a_hit_in_the_process_takes_microseconds(cache_at):
    cache = cache_at()
    cache.put({"a": "one"})
    started = time.perf_counter()
    for _ in range(1000):
        cache.peek("a")
    assert (time.perf_counter() - started) / 1000 < 100e-6
