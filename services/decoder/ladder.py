"""The ladder of one request: some corrections, checks, more corrections, and at last a quotation.

Each rung goes on from the last hypothesis and offers the best one so far, by cosine, to the checks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from nextvec.cache import Cache
from nextvec.deadline import Deadline
from nextvec.errors import Cancelled, DeadlineExceeded, QueueFull
from nextvec.flight import SingleFlight
from services.decoder.cache import Keys
from services.decoder.metrics import DecoderMetrics
from services.decoder.quality import Check, check
from services.decoder.quotations import Quotable, Quotation, Quotations
from services.decoder.scheduler import Scheduler, Spent
from services.decoder.walk import Hypothesis, Standing, Walk

RUNGS = (1, 3, 5)

Listen = Callable[[Hypothesis], None]


@dataclass(frozen=True)
class Order:
    """One vector [D] to decode, what to hold its text against, and what to quote where no text passes."""

    vector: NDArray[np.float32]
    source: str = ""
    candidates: tuple[str, ...] = ()
    candidate_vectors: NDArray[np.float32] | None = None
    rungs: tuple[int, ...] = RUNGS
    bypass_cache: bool = False
    skip_checks: bool = False


@dataclass(frozen=True)
class RungReport:
    """What a rung offered, and what the checks said."""

    rung: int
    text: str
    cosine: float
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(c.passed for c in self.checks)


@dataclass(frozen=True)
class Decoded:
    """A decoded vector; times in milliseconds."""

    text: str
    steps: int
    cosine: float
    rung: int
    cache_hit: bool
    extractive: bool
    fixed_point: bool
    rungs: tuple[RungReport, ...]
    hypotheses: tuple[Hypothesis, ...]
    queue_ms: float
    compute_ms: float


@dataclass(frozen=True)
class _Reached:
    """A rung, and what it took; not computed is what another process reached, for which this one waited."""

    standing: Standing
    queue_ms: float
    computed: bool


@dataclass
class _Climb:
    """How far a request has come."""

    order: Order
    listen: Listen
    key: str
    deadline: Deadline | None = None
    standing: Standing | None = None
    fetched: bool = False
    computed: bool = False
    queue_ms: float = 0.0
    reports: list[RungReport] = field(default_factory=list)
    heard: list[Hypothesis] = field(default_factory=list)

    def hear(self, hypothesis: Hypothesis) -> None:
        if self.heard and hypothesis.step <= self.heard[-1].step:
            return  # a rung that is gone for once more begins where the first attempt did
        self.heard.append(hypothesis)
        self.listen(hypothesis)


class Ladder:
    """Climbs for every request; equal rungs of equal vectors are computed once, in one of all decoders."""

    def __init__(
        self,
        keys: Keys,
        scheduler: Scheduler,
        cache: Cache[Standing],
        quotations: Quotations,
        metrics: DecoderMetrics,
    ) -> None:
        self._keys = keys
        self._quotations = quotations
        self._scheduler = scheduler
        self._cache = cache
        self._metrics = metrics
        self._flights: SingleFlight[Hypothesis, _Reached] = SingleFlight()

    async def climb(
        self,
        order: Order,
        listen: Listen = lambda hypothesis: None,
        deadline: Deadline | None = None,
    ) -> Decoded:
        """Decodes one vector; `listen` hears every hypothesis as it forms.

        Raises what the scheduler raises: QueueFull at once where the vector could not be decoded by
        `deadline`. It does not end work that is under way, which is the caller's to cancel.
        """
        started = time.monotonic()
        climb = _Climb(order, listen, self._keys.of(order.vector), deadline)
        for rung in order.rungs:
            standing = climb.standing = await self._stand(climb, rung)
            checks = () if order.skip_checks else tuple(check(standing.best.text, order.source))
            report = RungReport(rung, standing.best.text, standing.best.cosine, checks)
            climb.reports.append(report)
            self._metrics.tried(rung, checks)
            if report.passed:
                return self._decoded(climb, started)
            if standing.closed:
                self._metrics.fixed_points.inc()
                break
        quotable = await self._quotable(order)
        quotation = quotable.nearest(order.vector) if quotable else None
        if quotation is None:
            self._metrics.unpassed.inc()
        return self._decoded(climb, started, quotation)

    async def _stand(self, climb: _Climb, rung: int) -> Standing:
        """Where the vector stands after a rung: from the cache, from another request, or by going there."""
        if climb.order.bypass_cache:
            climb.computed = True
            standing, spent = await self._walk(climb, rung, climb.hear)
            climb.queue_ms += spent.queue_ms
            return standing
        key = self._keys.at(climb.key, rung)
        known = self._cache.peek(key)
        if known is None and not climb.fetched:
            climb.fetched = True
            later = [self._keys.at(climb.key, r) for r in climb.order.rungs if r > rung]
            [known] = await self._cache.fetch([key], ahead=later)
        if known is not None:
            return known

        leads = False

        async def work(publish: Listen) -> _Reached:
            nonlocal leads
            leads = True
            began = time.monotonic()
            async with self._cache.turn(key) as turn:
                if turn.found is not None:
                    return _Reached(turn.found, 1000 * (time.monotonic() - began), computed=False)
                standing, spent = await self._walk(climb, rung, publish)
                turn.result = standing.without_vectors()
            return _Reached(standing, spent.queue_ms, computed=True)

        while True:
            try:
                reached = await self._flights.run(key, work, climb.hear)
                break
            except (QueueFull, DeadlineExceeded, Cancelled):
                # Whoever led may have had less time. Each failure ends one leader, so this one leads at last.
                if leads or (climb.deadline and climb.deadline.expired):
                    raise
        climb.computed |= reached.computed
        climb.queue_ms += reached.queue_ms
        if not leads or not reached.computed:
            self._metrics.shared.inc()
        return reached.standing

    async def _walk(self, climb: _Climb, rung: int, publish: Listen) -> tuple[Standing, Spent]:
        target = torch.tensor(climb.order.vector)
        walk = climb.standing.resume(target) if climb.standing else Walk(target)
        spent = await self._scheduler.run(walk, rung, publish, climb.deadline)
        return walk.standing, spent

    async def _quotable(self, order: Order) -> Quotable | None:
        """The candidates, or else the chunks of the source."""
        if not order.candidates:
            return await self._quotations.of(order.source)
        if order.candidate_vectors is None:
            return await self._quotations.of(order.candidates)
        return Quotable(order.candidates, order.candidate_vectors)

    def _decoded(self, climb: _Climb, started: float, quotation: Quotation | None = None) -> Decoded:
        standing = climb.standing
        assert standing is not None
        best = standing.best
        text, nearness, steps, rung = best.text, best.cosine, best.step, climb.reports[-1].rung
        if quotation:
            text, nearness, steps, rung = quotation.text, quotation.cosine, 0, climb.order.rungs[-1]
        kind = "extractive" if quotation else "decoded" if climb.computed else "cached"
        self._metrics.answered(kind, text, climb.order.source, climb.reports[-1].checks)
        total_ms = 1000 * (time.monotonic() - started)
        queue_ms = min(climb.queue_ms, total_ms)
        return Decoded(
            text=text,
            steps=steps,
            cosine=nearness,
            rung=rung,
            cache_hit=not climb.computed,
            extractive=quotation is not None,
            fixed_point=standing.closed,
            rungs=tuple(climb.reports),
            hypotheses=tuple(climb.heard),
            queue_ms=queue_ms,
            compute_ms=total_ms - queue_ms,
        )
