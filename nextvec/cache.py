"""A cache in two tiers: a bounded one in the process, and Redis behind it where one is set.

Redis may be down, slow or wrong at any time. Calls to it have short timeouts, failures in a row open a
breaker that tries again after a while, and every entry carries a checksum over its key and its bytes, so
that garbage is a miss. Nothing here raises because of Redis.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from nextvec.logs import get_log

log = get_log(__name__)

Value = TypeVar("Value")
Answer = TypeVar("Answer")

TIMEOUT_S = 0.1
"""Longest that a request waits for Redis; what is cached takes longer than that to compute."""

MAX_WRITES = 256
"""Entries on their way to Redis; more are not written."""

_CHECKSUM_BYTES = 8


class Codec(Protocol[Value]):
    """How values travel as bytes."""

    def encode(self, value: Value) -> bytes:
        """Bytes of a value."""

    def decode(self, data: bytes) -> Value:
        """The value of bytes that `encode` made; raises ValueError for any others."""


class CacheMetrics:
    """What a cache counts; `name` tells the caches of a process apart."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        def counter(metric: str, meaning: str) -> Counter:
            return Counter(f"nextvec_{name}_cache_{metric}_total", meaning, registry=registry)

        self.hits = Counter(f"nextvec_{name}_cache_hits_total", "Entries found", ("tier",), registry=registry)
        self.misses = counter("misses", "Entries found in no tier")
        self.rejected = counter("rejected", "Entries of Redis with a wrong checksum or content")
        self.redis_failures = counter("redis_failures", "Calls to Redis that failed or took too long")
        self.dropped = counter("dropped_writes", "Entries not written because too many were on their way")
        self.entries = Gauge(f"nextvec_{name}_cache_entries", "Entries in the process", registry=registry)


class Breaker:
    """Stops calls to something that keeps failing, and lets one through now and then to see.

    After `failures` in a row it is open for `pause_s`, then twice as long after each failed trial, up to
    `longest_s`. One success closes it.
    """

    def __init__(self, failures: int = 3, pause_s: float = 1.0, longest_s: float = 30.0) -> None:
        self._allowed = failures
        self._first_pause = pause_s
        self._longest = longest_s
        self._failed = 0
        self._pause = pause_s
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether calls are to be left out."""
        return time.monotonic() < self._until

    @property
    def failing(self) -> bool:
        """Whether the last call did not work."""
        return self._failed > 0

    def allow(self) -> bool:
        """Whether a call may be made; after a pause one caller is let through as a trial."""
        if self.open:
            return False
        if self._failed >= self._allowed:
            self._until = time.monotonic() + self._pause  # the others wait for the trial's outcome
        return True

    def succeed(self) -> None:
        """A call worked."""
        self._failed, self._pause, self._until = 0, self._first_pause, 0.0

    def fail(self) -> None:
        """A call did not work."""
        self._failed += 1
        if self._failed > self._allowed:
            self._pause = min(2 * self._pause, self._longest)
        if self._failed >= self._allowed:
            self._until = time.monotonic() + self._pause


class Cache(Generic[Value]):
    """Values by key, at most `entries` in the process, for `ttl_s` seconds."""

    def __init__(
        self,
        codec: Codec[Value],
        metrics: CacheMetrics,
        *,
        entries: int,
        ttl_s: float,
        redis_url: str | None = None,
    ) -> None:
        self._codec = codec
        self._metrics = metrics
        self._limit = entries
        self._ttl = ttl_s
        self._near: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._redis: Any = None
        if redis_url:
            from redis.asyncio import Redis

            self._redis = Redis.from_url(redis_url, socket_connect_timeout=TIMEOUT_S, retry=None)
        self._breaker = Breaker()
        self._writes: set[asyncio.Task[None]] = set()

    def peek(self, key: str) -> Value | None:
        """The value in the process, or None; waits for nothing."""
        value = self._near_value(key)
        if value is not None:
            self._near.move_to_end(key)
            self._metrics.hits.labels("process").inc()
        return value

    async def fetch(self, keys: Sequence[str], ahead: Sequence[str] = ()) -> list[Value | None]:
        """The values of keys that the process does not have, from Redis in one round trip.

        What is found is in the process from then on. Keys `ahead`, which may be asked for later, come along
        where the process does not have them; they are neither returned nor counted.
        """
        wanted = [*keys, *(key for key in ahead if self._near_value(key) is None)]
        blobs: Sequence[bytes | None] = [None] * len(wanted)
        if self._redis is not None:
            blobs = await self._call(lambda: self._redis.mget(wanted)) or blobs
        values = [self._open(key, blob) for key, blob in zip(wanted, blobs, strict=True)]
        for key, value in zip(wanted, values, strict=True):
            if value is not None:
                self._keep(key, value)
        asked = values[: len(keys)]
        misses = sum(value is None for value in asked)
        self._metrics.misses.inc(misses)
        self._metrics.hits.labels("redis").inc(len(asked) - misses)
        return asked

    def put(self, key: str, value: Value) -> None:
        """Keeps a value, and sends it to Redis without waiting."""
        self._keep(key, value)
        if self._redis is None:
            return
        if len(self._writes) >= MAX_WRITES:
            self._metrics.dropped.inc()
            return
        task = asyncio.create_task(self._write(key, self._codec.encode(value)))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Finishes the writes under way and closes the connections."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=TIMEOUT_S)
        if self._redis is not None:
            await self._redis.aclose()

    def _near_value(self, key: str) -> Value | None:
        """The value in the process, neither counted nor counting as a use."""
        found = self._near.get(key)
        if found is None:
            return None
        if found[0] < time.monotonic():
            del self._near[key]
            return None
        return found[1]

    def _keep(self, key: str, value: Value) -> None:
        self._near[key] = time.monotonic() + self._ttl, value
        self._near.move_to_end(key)
        while len(self._near) > self._limit:
            self._near.popitem(last=False)
        self._metrics.entries.set(len(self._near))

    async def _write(self, key: str, data: bytes) -> None:
        blob = _checksum(key, data) + data
        await self._call(lambda: self._redis.set(key, blob, px=int(1000 * self._ttl)))

    def _open(self, key: str, blob: bytes | None) -> Value | None:
        if blob is None:
            return None
        try:
            data = blob[_CHECKSUM_BYTES:]
            if blob[:_CHECKSUM_BYTES] != _checksum(key, data):
                raise ValueError("wrong checksum")
            return self._codec.decode(data)
        except (ValueError, TypeError) as error:
            self._metrics.rejected.inc()
            log.warning("a cache entry is not usable", key=key, reason=str(error))
            return None

    async def _call(self, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """The answer of Redis, or None where there is none in time or the breaker is open."""
        if not self._breaker.allow():
            return None
        was_failing = self._breaker.failing
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await call()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever the client raises, the cache goes on without Redis
            self._metrics.redis_failures.inc()
            self._breaker.fail()
            if not was_failing:
                log.warning("Redis does not answer; going on without it", reason=repr(error))
            return None
        self._breaker.succeed()
        if was_failing:
            log.info("Redis answers again")
        return answer


def _checksum(key: str, data: bytes) -> bytes:
    """Over the key too, so that an entry under another key than its own is refused."""
    digest = hashlib.blake2b(key.encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(data)
    return digest.digest()
