"""A bounded queue in front of a model: groups items, computes them off the event loop, refuses when full."""

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nextvec.arrivals import Arrivals
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, NextvecError, QueueFull, StageUnavailable
from nextvec.metrics import QueueMetrics

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result, and where its time went."""

    value: Result
    queue_ms: float
    compute_ms: float


@dataclass(eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    size: int
    deadline: Deadline | None
    future: "asyncio.Future[Timed[Result]]"
    arrived: float = field(default_factory=time.monotonic)


class BatchQueue(Generic[Item, Result]):
    """Computes items in batches with `run`, in one worker thread of its own.

    `run` takes a list of items and returns as many results in the same order; a result that is an exception
    fails that item alone. Where `run` raises, each item of the batch is run by itself, so that only the
    faulty one fails. Items whose `key` differs are never in one batch.

    A batch holds items of at most `max_batch` units of work (an item larger than that runs alone). Under
    load it fills by itself, with what arrives while the one before it computes. Beyond that it waits only
    while more keeps coming, and never longer than `max_wait_ms` milliseconds after its oldest item came: one
    that is alone does not wait. At most `queue_limit` units wait, and none whose deadline would pass
    meanwhile; `submit` refuses others with QueueFull.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        max_batch: int,
        max_wait_ms: float,
        queue_limit: int,
        key: Callable[[Item], Hashable] = lambda item: None,
        name: str = "batch",
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_wait = max_wait_ms / 1000
        self._queue_limit = queue_limit
        self._key = key
        self._name = name
        self._metrics = metrics
        self._groups: OrderedDict[Hashable, deque[_Entry[Item, Result]]] = OrderedDict()
        self._waiting = 0
        self._unanswered = 0
        self._arrivals = Arrivals(self._max_wait)
        self._seconds_per_batch = 0.0
        self._changed = asyncio.Event()
        self._closing = False
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    @property
    def max_batch(self) -> int:
        """Units of work computed together."""
        return self._max_batch

    @property
    def waiting(self) -> int:
        """Units of work in the queue, those being computed not counted."""
        return self._waiting

    async def submit(self, item: Item, *, size: int = 1, deadline: Deadline | None = None) -> Timed[Result]:
        """Queues an item of `size` units and returns its result.

        Raises QueueFull, DeadlineExceeded, StageUnavailable when closing, or what `run` raised for the item.
        A caller that is cancelled while its item waits takes the item out of the queue.
        """
        if deadline:
            deadline.require(f"the {self._name} queue was reached")
        self.require_room(size, deadline)
        entry: _Entry[Item, Result] = _Entry(item, size, deadline, asyncio.get_running_loop().create_future())
        key = self._key(item)
        self._groups.setdefault(key, deque()).append(entry)
        self._count(size)
        self._arrivals.note(entry.arrived, alone=not self._unanswered)
        self._unanswered += 1
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"{self._name} worker")
        self._changed.set()
        try:
            async with asyncio.timeout(deadline.remaining if deadline else None):
                return await entry.future
        except TimeoutError:
            if deadline is None or not deadline.expired:
                raise
            raise DeadlineExceeded(f"the deadline passed in the {self._name} queue") from None
        finally:
            self._unanswered -= 1
            self._withdraw(key, entry)

    def require_room(self, size: int, deadline: Deadline | None = None) -> None:
        """Raises what `submit` would raise at once for an item of `size` units.

        For callers with work to do before they have the item: it would be for nothing.
        """
        if self._closing:
            raise StageUnavailable(f"the {self._name} queue is closing; try another replica")
        # An empty queue takes any item: one larger than the limit could never get in otherwise.
        if not self._waiting:
            return
        wait = self._seconds_per_batch * self._waiting / self._max_batch
        if self._waiting + size > self._queue_limit:
            reason = f"is full: {self._waiting} of {self._queue_limit} units wait"
        elif deadline and wait > deadline.remaining:
            reason = (
                f"is too long: {self._waiting} units wait, for about {1000 * wait:.0f} ms, and the deadline "
                f"is in {1000 * deadline.remaining:.0f} ms"
            )
        else:
            return
        if self._metrics:
            self._metrics.refused.inc()
        delay = max(1, math.ceil(1000 * (self._seconds_per_batch + wait)))
        raise QueueFull(f"the {self._name} queue {reason}; try again in {delay} ms", retry_delay_ms=delay)

    async def close(self) -> None:
        """Refuses new items, finishes the waiting ones, ends the thread."""
        self._closing = True
        self._changed.set()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown(wait=False)

    def _count(self, change: int) -> None:
        self._waiting += change
        if self._metrics:
            self._metrics.waiting.set(self._waiting)

    def _withdraw(self, key: Hashable, entry: _Entry[Item, Result]) -> None:
        group = self._groups.get(key)
        if group is not None and entry in group:
            group.remove(entry)
            self._count(-entry.size)
            if not group:
                del self._groups[key]

    async def _work(self) -> None:
        while True:
            key = await self._ready()
            if key is _DONE:
                return
            await self._compute(self._take(key))

    async def _ready(self) -> Hashable:
        """Waits until a group is due and returns its key, or _DONE when closing with nothing left."""
        while True:
            self._changed.clear()
            if not self._groups:
                if self._closing:
                    return _DONE
                await self._changed.wait()
                continue
            due, key = min(
                ((self._due(group), key) for key, group in self._groups.items()), key=lambda pair: pair[0]
            )
            wait = due - time.monotonic()
            if wait <= 0 or self._closing:
                return key
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _due(self, group: deque[_Entry[Item, Result]]) -> float:
        oldest = group[0].arrived
        until = self._arrivals.worth_waiting_until
        if until <= time.monotonic() or sum(entry.size for entry in group) >= self._max_batch:
            return oldest
        return min(oldest + self._max_wait, until)

    def _take(self, key: Hashable) -> list[_Entry[Item, Result]]:
        group = self._groups[key]
        batch: list[_Entry[Item, Result]] = []
        work = 0
        while group and (not batch or work + group[0].size <= self._max_batch):
            entry = group.popleft()
            self._count(-entry.size)
            if entry.future.done() or (entry.deadline and entry.deadline.expired):
                # Its caller's own timeout tells the caller.
                continue
            batch.append(entry)
            work += entry.size
        if not group:
            del self._groups[key]
        return batch

    async def _compute(self, batch: list[_Entry[Item, Result]]) -> None:
        if not batch:
            return
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._thread, self._attempt, [entry.item for entry in batch])
        seconds = time.monotonic() - started
        work = sum(entry.size for entry in batch)
        self._measure(batch, work, started, seconds)
        for entry, result in zip(batch, results, strict=True):
            if entry.future.done():
                continue
            if isinstance(result, Exception):
                entry.future.set_exception(result)
            else:
                queue_ms = 1000 * (started - entry.arrived)
                entry.future.set_result(Timed(result, queue_ms, 1000 * seconds))

    def _attempt(self, items: list[Item]) -> Sequence[Result | Exception]:
        """Runs in the worker thread; never raises."""
        try:
            results = self._run(items)
            if len(results) != len(items):
                raise RuntimeError(f"{self._name} returned {len(results)} results for {len(items)} items")
            return results
        except Exception as error:
            if len(items) == 1:
                return [error]
            if not isinstance(error, NextvecError):
                log.warning("%s: a batch of %d failed, trying one by one", self._name, len(items))
            return [self._attempt([item])[0] for item in items]

    def _measure(self, batch: list[_Entry[Item, Result]], work: int, started: float, seconds: float) -> None:
        # Half the weight on the latest batch: the estimate follows a change within a few batches.
        self._seconds_per_batch = (self._seconds_per_batch + seconds) / 2
        if self._metrics:
            self._metrics.batch_units.observe(work)
            self._metrics.compute_seconds.observe(seconds)
            for entry in batch:
                self._metrics.queue_seconds.observe(started - entry.arrived)


_DONE = object()
