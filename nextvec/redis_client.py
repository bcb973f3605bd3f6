"""The few things the cache asks of Redis, alike for one server, a master behind Sentinels, and a Cluster."""

from collections.abc import Mapping, Sequence
from typing import Any

from nextvec.errors import StartupError
from nextvec.redis_address import RedisAddress

try:
    from redis.asyncio import Redis, RedisCluster, Sentinel
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise StartupError(
        "NEXTVEC_REDIS_URL is set, but the package 'redis' is not installed: "
        "install the extra 'decoder' or 'encoder', or unset the variable"
    ) from error

_EXTEND = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


class RedisClient:
    """Connections to an address, made when they are needed. Methods raise what redis-py raises."""

    def __init__(self, address: RedisAddress, connect_seconds: float) -> None:
        """`connect_seconds` is the longest that all of an address's hosts together may take to be tried."""
        self._client, self._sentinel = _open(address, connect_seconds)
        self._cluster = address.form == "cluster"

    async def ping(self) -> None:
        """Returns when Redis answers, in a Cluster each of its masters."""
        await self._client.ping(**({"target_nodes": RedisCluster.PRIMARIES} if self._cluster else {}))

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values of keys, in one round trip; in a Cluster one to each node, at the same time."""
        read = self._client.mget_nonatomic if self._cluster else self._client.mget
        return await read(keys)

    async def write(self, entries: Mapping[str, bytes], ttl_ms: int) -> None:
        """Sets values for `ttl_ms` milliseconds, pipelined as in `read`."""
        if len(entries) == 1:
            [(key, value)] = entries.items()
            await self._client.set(key, value, px=ttl_ms)
            return
        pipeline = self._pipeline()
        for key, value in entries.items():
            pipeline.set(key, value, px=ttl_ms)
        await pipeline.execute()

    async def claim(self, lock: str, token: str, ttl_ms: int, key: str) -> tuple[bool, bytes | None]:
        """Takes a lock for `ttl_ms` milliseconds where nobody has it; whether so, and the value of `key`."""
        pipeline = self._pipeline()
        pipeline.set(lock, token, px=ttl_ms, nx=True)
        pipeline.get(key)
        taken, value = await pipeline.execute()
        return bool(taken), value

    async def extend(self, lock: str, token: str, ttl_ms: int) -> bool:
        """Lets a lock last `ttl_ms` milliseconds from now; whether the token still held it."""
        return bool(await self._client.eval(_EXTEND, 1, lock, token, ttl_ms))

    async def release(self, lock: str, token: str) -> bool:
        """Gives a lock back; whether the token still held it."""
        return bool(await self._client.eval(_RELEASE, 1, lock, token))

    async def close(self) -> None:
        """Closes the connections; errors in doing so are Redis's."""
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    def _pipeline(self) -> Any:
        return self._client.pipeline() if self._cluster else self._client.pipeline(transaction=False)


def _open(address: RedisAddress, connect_seconds: float) -> tuple[Any, Sentinel | None]:
    """A client of redis-py, and the Sentinels that it asks, where it does."""
    # Hosts are tried in turn, so that each has its share of the time.
    seconds = connect_seconds / max(1, len(address.nodes))
    common: dict[str, Any] = {
        # The caller tries again when it is time to.
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
    }
    if address.tls:
        common |= {"ssl": True, **address.tls_options}
    account: dict[str, Any] = {"username": address.username, "password": address.password}
    database: dict[str, Any] = {"db": address.database}
    if address.form == "socket":
        return Redis(unix_socket_path=address.path, **database, **account, **common), None
    if address.form == "server":
        [(host, port)] = address.nodes
        return Redis(host=host, port=port, **database, **account, **common), None
    if address.form == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return RedisCluster(startup_nodes=nodes, **account, **common), None
    own = {"username": address.sentinel_username, "password": address.sentinel_password}
    sentinel = Sentinel(address.nodes, sentinel_kwargs={**own, **common})
    return sentinel.master_for(address.service, **database, **account, **common), sentinel
