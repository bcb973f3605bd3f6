"""Redis as a cache needs it: never slow for long, never failing, and taken back when it works again.

A call that fails or takes too long opens the breaker: calls are left out from then on, so that a bad Redis
costs the timeout once. Meanwhile it is tried in the background, over new connections, at growing intervals,
until it answers within the timeout; a request never pays for a trial.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from nextvec.cache_metrics import CacheMetrics
from nextvec.logs import get_log
from nextvec.redis_address import RedisAddress

if TYPE_CHECKING:
    from nextvec.redis_client import RedisClient

log = get_log(__name__)

Answer = TypeVar("Answer")

CONNECT_SECONDS = 1.0
"""Longest that connecting takes where no request waits for it: names, TLS, Sentinels, a Cluster's nodes."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
"""Between trials of a Redis that fails; each pause is twice the one before."""

_AT_ONCE = 64
"""Calls in flight. redis-py refuses the 101st connection, which says nothing about Redis."""


class RedisTier:
    """Calls to one Redis. What cannot be had in time is None; nothing here raises because of Redis."""

    def __init__(self, url: str, metrics: CacheMetrics, timeout_s: float) -> None:
        """Raises StartupError without the redis package, ValueError for a malformed URL."""
        from nextvec.redis_client import RedisClient

        self._address = RedisAddress.parse(url)
        self._metrics = metrics
        self._timeout = timeout_s
        self._client = RedisClient(self._address, CONNECT_SECONDS)
        self._pause = FIRST_PAUSE_SECONDS
        self._recovery: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._seconds = {call: metrics.redis_seconds.labels(call) for call in ("read", "write", "lock")}

    @property
    def open(self) -> bool:
        """Whether calls are left out."""
        return self._recovery is not None

    async def connect(self) -> None:
        """Connects, if that takes no longer than a second, so that no request waits for it."""
        try:
            await self._try(self._client)
        except Exception as error:  # whatever the client raises, there is a cache without Redis
            self._fail(error)

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None] | None:
        """The values of keys."""
        return await self._call("read", lambda client: client.read(keys))

    async def write(self, entries: Mapping[str, bytes], ttl_s: float) -> bool:
        """Sets values for `ttl_s` seconds; whether that worked."""
        milliseconds = max(1, int(1000 * ttl_s))

        async def write(client: "RedisClient") -> bool:
            await client.write(entries, milliseconds)
            return True

        return bool(await self._call("write", write))

    async def claim(self, lock: str, token: str, ttl_s: float, key: str) -> tuple[bool, bytes | None] | None:
        """Whether the lock could be taken, and the value of `key` after that."""
        return await self._call("lock", lambda client: client.claim(lock, token, int(1000 * ttl_s), key))

    async def extend(self, lock: str, token: str, ttl_s: float) -> bool | None:
        """Whether the lock was the token's and now lasts `ttl_s` seconds from now."""
        return await self._call("lock", lambda client: client.extend(lock, token, int(1000 * ttl_s)))

    async def release(self, lock: str, token: str) -> bool | None:
        """Whether the lock was the token's and is given back."""
        return await self._call("lock", lambda client: client.release(lock, token))

    async def close(self) -> None:
        """Closes the connections."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        await _close(self._client)

    async def _call(self, name: str, call: Callable[["RedisClient"], Awaitable[Answer]]) -> Answer | None:
        if self.open:
            return None
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout), self._room:
                answer = await call(self._client)
        except Exception as error:  # whatever the client raises, the cache goes on without Redis
            self._fail(error)
            return None
        finally:
            self._seconds[name].observe(time.perf_counter() - started)
        self._pause = FIRST_PAUSE_SECONDS
        return answer

    def _fail(self, error: Exception) -> None:
        self._metrics.redis_failures.inc()
        if self._recovery is None:
            log.warning(
                "Redis does not answer; going on without it", address=str(self._address), reason=repr(error)
            )
            self._metrics.breaker_open.set(1)
            self._recovery = asyncio.create_task(self._recover(), name="Redis recovery")

    async def _recover(self) -> None:
        """Returns when Redis answers in time again."""
        from nextvec.redis_client import RedisClient

        while True:
            await asyncio.sleep(self._pause)
            # Stays so until a call works: a Redis that is good for trials only is tried less and less.
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            client = RedisClient(self._address, CONNECT_SECONDS)
            try:
                await self._try(client)
            except Exception:  # as above; were this task to end, Redis would never be asked again
                await _close(client)
                continue
            except asyncio.CancelledError:
                await _close(client)
                raise
            former, self._client = self._client, client
            self._recovery = None
            self._metrics.breaker_open.set(0)
            log.info("Redis answers again", address=str(self._address))
            await _close(former)
            return

    async def _try(self, client: "RedisClient") -> None:
        """Raises unless it connects, and then answers as fast as a request needs it."""
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.ping()
        async with asyncio.timeout(self._timeout):
            await client.ping()


async def _close(client: "RedisClient") -> None:
    with suppress(Exception):  # connections that are broken already
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.close()
