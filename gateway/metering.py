"""How much each API key may ask: token buckets, one for requests and one for chunks."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from gateway.keys import ApiKey, Keyring, holder
from nextvec.errors import InvalidInput, RateLimited


class KeyMetrics:
    """Counters by API key; `key` is its id, `limit` one of requests and chunks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "nextvec_gateway_key_requests_total",
            "Completions asked for with a key",
            ("key",),
            registry=registry,
        )
        self.chunks = Counter(
            "nextvec_gateway_key_chunks_total", "Chunks that keys were granted", ("key",), registry=registry
        )
        self.refusals = Counter(
            "nextvec_gateway_key_refusals_total",
            "Completions refused by a key's limit",
            ("key", "limit"),
            registry=registry,
        )


@dataclass
class Bucket:
    """Holds up to `capacity` tokens, `rate` of them coming in a second. A new one is full."""

    rate: float
    capacity: float
    level: float
    filled_at: float

    def take(self, count: float, now: float) -> float:
        """Takes `count` tokens and returns 0, or takes none and returns the seconds until they are there."""
        self.level = min(self.capacity, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.level >= count:
            self.level -= count
            return 0
        return (count - self.level) / self.rate


class Meter:
    """Holds the key of the RPC being served to its limits; without a keyring there are none."""

    def __init__(
        self,
        keyring: Keyring | None,
        metrics: KeyMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keyring = keyring
        self._metrics = metrics
        self._clock = clock
        # By key and kind; both are bounded by the keys that the file ever had.
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take_request(self, route: str) -> None:
        """Counts a completion on `route`; raises RateLimited where the key has had its share for now.

        Raises as `Keyring.confirm` does where the key no longer holds.
        """
        key = self._key(route)
        if not key:
            return
        self._metrics.requests.labels(key.id).inc()
        if rate := key.requests_per_second:
            # A second's worth may come at once, and one request always.
            self._take(key.id, "requests", 1, rate, max(1, rate), f"{rate:g} requests a second")

    def take_chunks(self, count: int, route: str) -> None:
        """Counts chunks about to be generated; raises RateLimited, or InvalidInput where they never fit.

        Raises as `Keyring.confirm` does where the key no longer holds.
        """
        key = self._key(route)
        if not key:
            return
        limit = key.chunks_per_minute
        if limit and count > limit:
            raise InvalidInput(
                f"max_chunks is {count}; must be at most {limit}, the chunks a minute of API key {key.id!r}"
            )
        if limit:
            self._take(key.id, "chunks", count, limit / 60, limit, f"{limit} chunks a minute")
        self._metrics.chunks.labels(key.id).inc(count)

    def _key(self, route: str) -> ApiKey | None:
        shown = holder.get()
        return self._keyring.confirm(shown, route) if self._keyring and shown else None

    def _take(self, key_id: str, kind: str, count: int, rate: float, capacity: float, allowed: str) -> None:
        now = self._clock()
        bucket = self._buckets.get((key_id, kind))
        if bucket is None or (bucket.rate, bucket.capacity) != (rate, capacity):
            bucket = self._buckets[key_id, kind] = Bucket(rate, capacity, capacity, now)
        if wait := bucket.take(count, now):
            self._metrics.refusals.labels(key_id, kind).inc()
            delay = math.ceil(1000 * wait)
            raise RateLimited(
                f"API key {key_id!r} may have {allowed}; try again in {delay} ms", retry_delay_ms=delay
            )
