"""Caches on connections of their own, as those of several decoders are: one computes, the others wait."""

import asyncio
import multiprocessing
import os
import signal
import time

import pytest
import redis

from nextvec.turns import LOCK_SECONDS
from tests.nextvec.caches import compute, metric, text_cache, written


async def test_of_several_replicas_one_computes_and_all_have_the_value(cache_at, redis_process):
    caches = [cache_at(redis_process.url) for _ in range(4)]
    answers = await asyncio.gather(*(compute(cache) for cache in caches))
    assert [text for text, _ in answers] == ["one"] * 4
    assert sum(computed for _, computed in answers) == 1
    assert sum(metric(cache, "waits_total", outcome="found") for cache in caches) == 3
    assert sum(metric(cache, "wait_seconds_count") for cache in caches) == 3
    assert all(cache.peek("{a}") == "one" for cache in caches)


async def test_a_computation_longer_than_a_lock_lives_is_waited_for(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    other._turns.took(8 * LOCK_SECONDS)
    first = asyncio.create_task(compute(one, 2.5 * LOCK_SECONDS))
    await asyncio.sleep(0.05)
    assert await compute(other) == ("one", False)
    assert await first == ("one", True)


async def test_nobody_waits_much_longer_than_computing_takes(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    stuck = asyncio.create_task(compute(one, 60))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    assert await compute(other, 0.01, "two") == ("two", True)
    assert LOCK_SECONDS <= time.monotonic() - started < LOCK_SECONDS + 1
    assert metric(other, "waits_total", outcome="computed") == 1
    stuck.cancel()


async def test_a_turn_that_fails_or_is_cancelled_goes_to_the_next_at_once(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    stuck = asyncio.create_task(compute(one, 60))
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(compute(other, 0.01))
    await asyncio.sleep(0.05)
    stuck.cancel()
    started = time.monotonic()
    assert await waiting == ("one", True)
    assert time.monotonic() - started < LOCK_SECONDS / 2
    await written(other)
    assert redis_process.keys() == 1, "the value, and no lock"


async def test_who_computes_releases_only_its_own_lock(cache_at, redis_process):
    cache = cache_at(redis_process.url)
    with redis.Redis(port=redis_process.port) as client:
        async with cache.turn("{a}") as turn:
            client.set("{a}:lock", "somebody else's")
            turn.result = "one"
        await written(cache)
        assert client.get("{a}:lock") == b"somebody else's"


async def test_redis_failing_makes_everybody_compute(cache_at, redis_process):
    caches = [cache_at(redis_process.url) for _ in range(2)]
    for cache in caches:
        await cache.connect()
    first = asyncio.create_task(compute(caches[0]))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(compute(caches[1]))
    await asyncio.sleep(0.05)
    redis_process.stop()
    started = time.monotonic()
    assert await asyncio.gather(first, second) == [("one", True), ("one", True)]
    assert time.monotonic() - started < LOCK_SECONDS


async def test_values_found_after_the_first_look_are_not_computed(cache_at, redis_process):
    one, other = cache_at(redis_process.url), cache_at(redis_process.url)
    await compute(one, 0)
    await written(one)
    assert await compute(other) == ("one", False)
    assert redis_process.keys() == 1


def _hold(url, ready):
    """In a process of its own: begins to compute, and never ends."""

    async def hold():
        async with text_cache(url).turn("{a}"):
            ready.set()
            await asyncio.sleep(600)

    asyncio.run(hold())


def _decode(url, go, answers):
    """In a process of its own: waits for the start, and then for a value that takes 0.3 s."""

    async def decode():
        cache = text_cache(url)
        await cache.connect()
        go.wait()
        answers.put(await compute(cache, 0.3, str(os.getpid())))
        await cache.close()

    asyncio.run(decode())


@pytest.fixture
def spawn():
    """`spawn(target, *arguments)`: a process that is killed in the end."""
    context = multiprocessing.get_context("spawn")
    processes = []

    def start(target, *arguments):
        processes.append(context.Process(target=target, args=arguments))
        processes[-1].start()
        return processes[-1]

    start.context = context
    yield start
    for process in processes:
        process.kill()
        process.join()


async def test_the_death_of_who_computes_costs_the_others_a_lock_s_life(cache_at, redis_process, spawn):
    ready = spawn.context.Event()
    holder = spawn(_hold, redis_process.url, ready)
    assert await asyncio.to_thread(ready.wait, 30)
    waiting = asyncio.create_task(compute(cache_at(redis_process.url), 0))
    await asyncio.sleep(0.05)
    os.kill(holder.pid, signal.SIGKILL)
    started = time.monotonic()
    assert await waiting == ("one", True)
    assert time.monotonic() - started < LOCK_SECONDS + 1


async def test_processes_that_begin_at_once_compute_once(redis_process, spawn):
    go, answers = spawn.context.Barrier(2), spawn.context.Queue()
    for _ in range(2):
        spawn(_decode, redis_process.url, go, answers)
    found = [await asyncio.to_thread(answers.get, True, 30) for _ in range(2)]
    assert len({text for text, _ in found}) == 1
    assert sum(computed for _, computed in found) == 1
