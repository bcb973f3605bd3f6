"""Single flight across processes: of those that need the same value, one computes and the others wait for it.

Whoever computes holds a lock in Redis that ends by itself shortly after its holder does. The others look for
the value until it is there, until the lock has gone, or until waiting has taken longer than computing would
have. A Redis that fails makes everybody compute.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from nextvec.cache_metrics import CacheMetrics
from nextvec.redis_tier import RedisTier

Value = TypeVar("Value")

LOCK_SECONDS = 0.5
"""Life of a lock that nobody extends: what the death of its holder costs those who wait."""

_EXTENSIONS = 3
"""Extensions in the life of a lock, so that one may come late."""

_FIRST_LOOK_SECONDS = 0.002
_LONGEST_LOOK_SECONDS = 0.02
"""Pauses between looks for the value; each is half as long again as the one before."""


class Lock:
    """A lock that this process holds, and extends until it is released."""

    def __init__(self, tier: RedisTier, name: str, token: str) -> None:
        self._tier = tier
        self._name = name
        self._token = token
        self._extending = asyncio.create_task(self._extend())

    async def release(self) -> None:
        """Gives the lock back."""
        self._extending.cancel()
        await self._tier.release(self._name, self._token)

    async def _extend(self) -> None:
        held: bool | None = True
        while held is not False:  # None means that Redis did not answer, which it may next time
            await asyncio.sleep(LOCK_SECONDS / _EXTENSIONS)
            held = await self._tier.extend(self._name, self._token, LOCK_SECONDS)


class Turns(Generic[Value]):
    """Who computes what, among all processes that use a Redis."""

    def __init__(
        self, tier: RedisTier, metrics: CacheMetrics, read: Callable[[str, bytes | None], Value | None]
    ) -> None:
        """`read(key, blob)` makes a value of what Redis has under a key, or None where it is not usable."""
        self._tier = tier
        self._metrics = metrics
        self._read = read
        self._typical_seconds = 0.0

    async def take(self, key: str) -> tuple[Lock | None, Value | None]:
        """The value, where another process computes it soon; else a lock, where one could be had.

        With neither there is nothing to wait for, and nothing to release.
        """
        lock, value = await self._claim(key)
        if lock or value is not None or self._tier.open:
            return lock, value
        started = time.monotonic()
        until = started + max(LOCK_SECONDS, 2 * self._typical_seconds)
        while not lock and value is None and not self._tier.open and time.monotonic() < until:
            value = await self._look(key, until)
            if value is None:
                lock, value = await self._claim(key)
        self._metrics.wait_seconds.observe(time.monotonic() - started)
        self._metrics.waits.labels("computed" if value is None else "found").inc()
        return lock, value

    def took(self, seconds: float) -> None:
        """Learns how long computing a value takes here; nobody waits for more than twice that."""
        self._typical_seconds = (self._typical_seconds + seconds) / 2

    async def _claim(self, key: str) -> tuple[Lock | None, Value | None]:
        token = secrets.token_hex(8)
        claim = await self._tier.claim(_name(key), token, LOCK_SECONDS, key)
        if claim is None:
            return None, None
        mine, blob = claim
        value = self._read(key, blob)
        lock = Lock(self._tier, _name(key), token) if mine else None
        if lock and value is not None:  # computed by somebody else just before
            await lock.release()
            return None, value
        return lock, value

    async def _look(self, key: str, until: float) -> Value | None:
        """The value, as soon as it is there; None when there is none and nobody computes, or at the end."""
        pause = _FIRST_LOOK_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_LOOK_SECONDS)
            found = await self._tier.read([key, _name(key)])
            if found is None:
                return None
            blob, holder = found
            value = self._read(key, blob)
            if value is not None or holder is None:
                return value
        return None


def _name(key: str) -> str:
    """Of the lock; a key with a part in braces has it on the same node of a Cluster."""
    return f"{key}:lock"
