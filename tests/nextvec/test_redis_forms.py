"""The cache before a Sentinel's master that fails, before a real Cluster, and over a socket."""

import asyncio

import pytest

from benchmarks.redis_process import RedisProcess
from tests.nextvec.caches import compute, metric, recovered, written
from tests.redis_systems import Cluster, Watched, ask


async def test_a_failover_that_a_sentinel_makes_is_followed(cache_at, tmp_path):
    with Watched(tmp_path) as watched:
        cache = cache_at(watched.url, redis_timeout_s=2)
        await cache.connect()
        cache.put({"{a}": "one"})
        await written(cache)
        assert await cache_at(watched.url, redis_timeout_s=2).fetch(["{a}"]) == ["one"]
        await asyncio.to_thread(lambda: ask(watched.master, "wait", 1, 1000))
        watched.master.stop()
        assert await cache.fetch(["{b}"]) == [None]
        assert metric(cache, "breaker_open") == 1
        await asyncio.to_thread(watched.wait_for_promotion)
        await recovered(cache)
        cache.put({"{c}": "three"})
        await written(cache)
        # Just after a failover a Sentinel may know of no master for a moment.
        other = cache_at(watched.url, redis_timeout_s=2)
        await other.connect()
        await recovered(other)
        assert await other.fetch(["{a}", "{c}"]) == ["one", "three"], "on the new master"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


async def test_a_batch_is_spread_over_a_cluster(cache_at, cluster):
    cache, other = cache_at(cluster.url, redis_timeout_s=2), cache_at(cluster.url, redis_timeout_s=2)
    await cache.connect()
    texts = {f"key {number}": f"text {number}" for number in range(300)}
    cache.put(texts)
    await written(cache)
    assert metric(cache, "dropped_writes_total") == 0
    assert all(node.keys() > 50 for node in cluster.nodes)
    await other.connect()
    assert await other.fetch([*texts, "missing"]) == [*texts.values(), None]


async def test_replicas_take_turns_in_a_cluster(cache_at, cluster):
    caches = [cache_at(cluster.url, redis_timeout_s=2) for _ in range(3)]
    for cache in caches:
        await cache.connect()
    answers = await asyncio.gather(*(compute(cache) for cache in caches))
    assert [text for text, _ in answers] == ["one"] * 3
    assert sum(computed for _, computed in answers) == 1


async def test_a_socket_with_a_password_and_a_database(cache_at, tmp_path, capfd):
    socket = tmp_path / "redis.sock"
    with RedisProcess(tmp_path, f'unixsocket "{socket}"', 'user me on ">p@ss:word" ~* +@all') as process:
        cache = cache_at(f"redis://me:p%40ss%3Aword@127.0.0.1:{process.port}/2")
        cache.put({"a": "one"})
        await written(cache)
        assert await cache_at(f"unix://{socket}?db=2&username=me&password=p%40ss%3Aword").fetch(["a"]) == [
            "one"
        ]
        wrong = cache_at(f"redis://me:hunter2@127.0.0.1:{process.port}/2")
        assert await wrong.fetch(["a"]) == [None]
        assert metric(wrong, "breaker_open") == 1
    assert "hunter2" not in "".join(capfd.readouterr())


async def test_a_cluster_that_is_asked_as_one_server_fails_no_call(cache_at, cluster):
    cache = cache_at(cluster.nodes[0].url)
    assert await cache.fetch(["a", "b", "c"]) == [None] * 3
