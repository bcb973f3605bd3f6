"""A cache in two tiers: a bounded one in the process, and Redis behind it where one is set.

Redis may be down, slow or wrong at any time. Calls to it have short timeouts, a failure opens a breaker that
tries again in the background, and every entry carries a checksum over its key and its bytes, so that garbage
is a miss. Nothing here raises because of Redis.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nextvec.cache_metrics import CacheMetrics
from nextvec.logs import get_log
from nextvec.redis_tier import RedisTier
from nextvec.turns import Lock, Turns

log = get_log(__name__)

Value = TypeVar("Value")

TIMEOUT_S = 0.1
"""Longest that a request waits for Redis, where nothing else is set."""

MAX_BYTES = 64 * 2**20
"""Size of all entries in the process, where nothing else is set."""

MAX_ENTRY_BYTES = 2**18
"""A larger entry is not kept; those of vectors and texts have a few thousand bytes."""

MAX_WRITES = 256
"""Writes on their way to Redis, each of one entry or of a batch; more are left out."""

BATCH = 128
"""Entries of one call to Redis, so that its timeout is about Redis and not about how much is asked for."""

_CHECKSUM_BYTES = 8


class Codec(Protocol[Value]):
    """How values travel as bytes."""

    def encode(self, value: Value) -> bytes:
        """Bytes of a value."""

    def decode(self, data: bytes) -> Value:
        """The value of bytes that `encode` made; raises ValueError for any others."""


@dataclass(frozen=True)
class _Entry(Generic[Value]):
    value: Value
    size: int
    until: float


@dataclass
class Turn(Generic[Value]):
    """`found` is what another process computed; where that is None, `result` is to be set here."""

    found: Value | None = None
    result: Value | None = None


class Cache(Generic[Value]):
    """Values by key, at most `entries` and `max_bytes` in the process, for `ttl_s` seconds in each tier."""

    def __init__(
        self,
        codec: Codec[Value],
        metrics: CacheMetrics,
        *,
        entries: int,
        ttl_s: float,
        max_bytes: int = MAX_BYTES,
        redis_url: str | None = None,
        redis_timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`redis_url` is one that `RedisAddress` can parse. Raises StartupError without the redis package."""
        self._codec = codec
        self._metrics = metrics
        self._limit = entries
        self._max_bytes = max_bytes
        self._ttl = ttl_s
        self._near: OrderedDict[str, _Entry[Value]] = OrderedDict()
        self._near_bytes = 0
        self._redis = RedisTier(redis_url, metrics, redis_timeout_s) if redis_url else None
        self._turns = Turns(self._redis, metrics, self._take_in) if self._redis else None
        self._writes: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connects to Redis before the first request, where one is set; a Redis that is down is no error."""
        if self._redis:
            await self._redis.connect()

    def peek(self, key: str) -> Value | None:
        """The value in the process, or None; waits for nothing."""
        value = self._near_value(key)
        if value is not None:
            self._near.move_to_end(key)
            self._metrics.process_hits.inc()
        return value

    async def fetch(self, keys: Sequence[str], ahead: Sequence[str] = ()) -> list[Value | None]:
        """The values of keys that the process does not have, from Redis in one round trip for each batch.

        What is found is in the process from then on. Keys `ahead`, which may be asked for later, come along
        where the process does not have them; they are neither returned nor counted.
        """
        wanted = [*keys, *(key for key in ahead if self._near_value(key) is None)]
        values: list[Value | None] = []
        for batch in _batches(wanted):
            blobs = await self._redis.read(batch) if self._redis else None
            blobs = blobs or [None] * len(batch)
            values += [self._take_in(key, blob) for key, blob in zip(batch, blobs, strict=True)]
        asked = values[: len(keys)]
        misses = sum(value is None for value in asked)
        self._metrics.misses.inc(misses)
        self._metrics.redis_hits.inc(len(asked) - misses)
        return asked

    def put(self, values: Mapping[str, Value]) -> None:
        """Keeps values, and sends them to Redis in batches without waiting."""
        blobs = {key: blob for key, value in values.items() if (blob := self._blob(key, value))}
        if self._redis and blobs:
            self._send(self._redis, blobs)

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[Turn[Value]]:
        """Lets one of all processes that share a Redis compute a value that the cache does not have.

        The others wait for it, and find it in their turn. What is computed all the same is set as the turn's
        `result`, and kept.
        """
        lock, found = await self._turns.take(key) if self._turns else (None, None)
        if found is not None:
            self._metrics.redis_hits.inc()
        turn = Turn(found)
        blobs: dict[str, bytes] = {}
        started = time.monotonic()
        try:
            yield turn
            if turn.result is not None and (blob := self._blob(key, turn.result)):
                blobs[key] = blob
                if self._turns:
                    self._turns.took(time.monotonic() - started)
        finally:
            if self._redis and (lock or blobs):
                self._send(self._redis, blobs, lock)

    async def close(self) -> None:
        """Finishes the writes under way and closes the connections."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=TIMEOUT_S)
        if self._redis:
            await self._redis.close()

    def _near_value(self, key: str) -> Value | None:
        """The value in the process, neither counted nor counting as a use."""
        entry = self._near.get(key)
        if entry is None:
            return None
        if entry.until < time.monotonic():
            self._forget(key)
            return None
        return entry.value

    def _keep(self, key: str, value: Value, size: int) -> None:
        if key in self._near:
            self._forget(key)
        self._near[key] = _Entry(value, size, time.monotonic() + self._ttl)
        self._near_bytes += size
        while len(self._near) > self._limit or self._near_bytes > self._max_bytes:
            self._forget(next(iter(self._near)))
            self._metrics.evicted.inc()
        self._metrics.entries.set(len(self._near))
        self._metrics.bytes.set(self._near_bytes)

    def _forget(self, key: str) -> None:
        self._near_bytes -= self._near.pop(key).size
        self._metrics.entries.set(len(self._near))
        self._metrics.bytes.set(self._near_bytes)

    def _blob(self, key: str, value: Value) -> bytes | None:
        """Keeps a value; its bytes for Redis. None where it is too large for either."""
        data = self._codec.encode(value)
        if len(data) > MAX_ENTRY_BYTES:
            self._metrics.oversized.inc()
            return None
        blob = _checksum(key, data) + data
        self._keep(key, value, len(blob))
        return blob

    def _take_in(self, key: str, blob: bytes | None) -> Value | None:
        """Keeps what Redis had, where that is usable."""
        value = self._open(key, blob)
        if value is not None and blob is not None:
            self._keep(key, value, len(blob))
        return value

    def _open(self, key: str, blob: bytes | None) -> Value | None:
        if blob is None:
            return None
        try:
            data = blob[_CHECKSUM_BYTES:]
            if len(data) > MAX_ENTRY_BYTES:
                raise ValueError(f"it has {len(data)} bytes; must have at most {MAX_ENTRY_BYTES}")
            if blob[:_CHECKSUM_BYTES] != _checksum(key, data):
                raise ValueError("wrong checksum")
            return self._codec.decode(data)
        except (ValueError, TypeError) as error:
            self._metrics.rejected.inc()
            log.warning("a cache entry is not usable", key=key, reason=str(error))
            return None

    def _send(self, redis: RedisTier, blobs: Mapping[str, bytes], lock: Lock | None = None) -> None:
        """Writes to Redis in the background, then gives the lock back: whoever gets it next finds them."""
        if len(self._writes) >= MAX_WRITES and not lock:
            self._metrics.dropped.inc(len(blobs))
            return

        async def send() -> None:
            for batch in _batches(list(blobs)):
                if not await redis.write({key: blobs[key] for key in batch}, self._ttl):
                    self._metrics.dropped.inc(len(batch))
            if lock:
                await lock.release()

        task = asyncio.create_task(send())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _checksum(key: str, data: bytes) -> bytes:
    """Over the key too, so that an entry under another key than its own is refused."""
    digest = hashlib.blake2b(key.encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(data)
    return digest.digest()
