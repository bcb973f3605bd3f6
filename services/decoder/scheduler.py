"""Requests on one side, one engine in its thread on the other: walks join and leave between passes."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nextvec.deadline import Deadline
from nextvec.errors import NextvecError, QueueFull, StageUnavailable
from nextvec.logs import get_log
from nextvec.metrics import QueueMetrics
from services.decoder.engine import Engine
from services.decoder.walk import Hypothesis, Walk

log = get_log(__name__)

Listen = Callable[[Hypothesis], None]

_MARGIN = 2
"""Estimates that a deadline has to have room for: at one, the queue fills until every other walk is late."""

_WEIGHT = 0.25
"""Of the latest figure in an average: it follows a change of load within a few passes."""


@dataclass(frozen=True)
class Spent:
    """Milliseconds that a walk waited, and that it was computed, with whatever else was in its passes."""

    queue_ms: float
    compute_ms: float


@dataclass(eq=False)
class _Job:
    walk: Walk
    until: int
    listen: Listen
    future: "asyncio.Future[None]"
    alone: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0


class Scheduler:
    """Runs walks on an engine, as many at once as it has slots; at most `queue_limit` more wait.

    None waits for company: walks join those under way at the next pass. A walk that could not be done by its
    deadline is refused at once. One that was begun earlier goes before new ones, and its place is kept.
    """

    def __init__(self, engine: Engine, *, queue_limit: int, metrics: QueueMetrics | None = None) -> None:
        self._engine = engine
        self._limit = queue_limit
        self._metrics = metrics
        self._waiting: deque[_Job] = deque()
        self._running: dict[Walk, _Job] = {}
        self._leaving: list[Walk] = []
        self._changed = asyncio.Event()
        self._news = False  # read by the engine's thread between passes
        self._closing = False
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._seconds_per_walk = 0.0
        self._seconds_per_start = 0.0  # between new walks starting, while others wait
        self._last_start = 0.0

    async def run(
        self,
        walk: Walk,
        until: int,
        listen: Listen = lambda hypothesis: None,
        deadline: Deadline | None = None,
    ) -> Spent:
        """Takes a walk on until `until` corrections are done or it closes; `listen` hears each hypothesis.

        Raises QueueFull, also where the walk could not be done by `deadline`, or StageUnavailable when
        closing. A caller that is cancelled takes the walk out at the next pass.
        """
        if walk.reaches(until):
            return Spent(0.0, 0.0)
        resumed = bool(walk.hypotheses)
        self._admit(resumed, deadline)
        job = _Job(walk, until, listen, asyncio.get_running_loop().create_future())
        (self._waiting.appendleft if resumed else self._waiting.append)(job)
        self._tell()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="decoder scheduler")
        try:
            await job.future
        finally:
            self._withdraw(job)
            ended = time.monotonic()
            spent = ended - job.started if job.started else 0.0
            # One that was given up late counts too: those that end are the fast ones.
            if (job.future.done() and not job.future.cancelled()) or spent > self._seconds_per_walk:
                self._seconds_per_walk += _WEIGHT * (spent - self._seconds_per_walk)
        return Spent(1000 * (job.started - job.arrived), 1000 * (ended - job.started))

    async def close(self) -> None:
        """Refuses new walks, finishes those there are, and ends the thread."""
        self._closing = True
        self._tell()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown(wait=False)

    def _admit(self, resumed: bool, deadline: Deadline | None) -> None:
        """Lets a walk in. An empty queue takes any: an estimate may be wrong, and would stay so."""
        if self._closing:
            raise StageUnavailable("the decoder is closing; try another replica")
        waiting = len(self._waiting)
        # Walks under way that come back for their next rung are at most two rounds of slots.
        limit = self._limit + (2 * self._engine.slots if resumed else 0)
        wait = waiting * self._seconds_per_start + self._seconds_per_walk
        if waiting >= limit:
            reason = f"is full: {waiting} of {limit} vectors wait"
        elif waiting and not resumed and deadline and _MARGIN * wait > deadline.remaining:
            reason = (
                f"is too long: {waiting} vectors wait, one more would take about {1000 * wait:.0f} ms, and "
                f"its deadline is in {1000 * deadline.remaining:.0f} ms"
            )
        else:
            return
        if self._metrics:
            self._metrics.refused.inc()
        delay = max(1, math.ceil(1000 * wait))
        raise QueueFull(f"the decoder queue {reason}; try again in {delay} ms", retry_delay_ms=delay)

    def _withdraw(self, job: _Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            self._tell()
        elif self._running.get(job.walk) is job:
            del self._running[job.walk]
            self._leaving.append(job.walk)
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.set()
        if self._metrics:
            self._metrics.waiting.set(len(self._waiting))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if not (self._waiting or self._running or self._leaving):
                if self._closing:
                    return
                await self._changed.wait()
                continue
            joining, leaving = self._take(), self._leaving
            self._leaving, self._news = [], False
            started = time.monotonic()
            for job in joining:
                job.started = job.started or started
                self._running[job.walk] = job
            try:
                news = await loop.run_in_executor(self._thread, self._turn, joining, leaving)
            except Exception as error:
                self._recover(error)
                continue
            if self._metrics:
                self._metrics.compute_seconds.observe(time.monotonic() - started)
                self._metrics.batch_units.observe(len(self._running))
            for walk, hypothesis, ended in news:
                self._deliver(walk, hypothesis, ended)

    def _take(self) -> list[_Job]:
        """The waiting jobs that fit now; one that runs alone only fits an empty engine."""
        taken: list[_Job] = []
        free = self._engine.slots - len(self._running)
        if any(job.alone for job in self._running.values()):
            return taken
        while self._waiting and len(taken) < free:
            if self._waiting[0].alone:
                if not self._running and not taken:
                    taken.append(self._waiting.popleft())
                break
            taken.append(self._waiting.popleft())
        now = time.monotonic()
        self._pace([job for job in taken if not job.walk.hypotheses], now)
        if self._metrics:
            self._metrics.waiting.set(len(self._waiting))
            for job in taken:
                self._metrics.queue_seconds.observe(now - job.arrived)
        return taken

    def _pace(self, new: list[_Job], now: float) -> None:
        """Measures how fast the queue moves; time in which nobody waited does not count."""
        if new:
            since = max(self._last_start, new[0].arrived)
            self._seconds_per_start += _WEIGHT * ((now - since) / len(new) - self._seconds_per_start)
            self._last_start = now

    def _turn(self, joining: list[_Job], leaving: list[Walk]) -> list[tuple[Walk, Hypothesis, bool]]:
        """In the engine's thread: passes until there is a hypothesis or somebody waits to join or leave."""
        for walk in leaving:
            self._engine.stop(walk)
        if joining:
            self._engine.start([(job.walk, job.until) for job in joining])
        while self._engine.busy:
            news = self._engine.advance()
            if news or self._news:
                return news
        return []

    def _deliver(self, walk: Walk, hypothesis: Hypothesis, ended: bool) -> None:
        job = self._running.get(walk)
        if job is None:
            return
        job.listen(hypothesis)
        if ended:
            del self._running[walk]
            if not job.future.done():
                job.future.set_result(None)

    def _recover(self, error: Exception) -> None:
        """After a failed turn every walk starts again from its last hypothesis, one by one.

        So only the one that cannot be computed fails.
        """
        jobs = []
        for job in self._running.values():
            if not job.walk.reaches(job.until):
                jobs.append(job)
            elif not job.future.done():
                job.future.set_result(None)
        self._running.clear()
        self._engine.clear()
        if len(jobs) == 1:
            if not jobs[0].future.done():
                jobs[0].future.set_exception(error)
            return
        if not isinstance(error, NextvecError):
            log.warning("a decoder pass failed, trying its walks one by one", walks=len(jobs), exc_info=error)
        for job in reversed(jobs):
            job.alone = True
            self._waiting.appendleft(job)
