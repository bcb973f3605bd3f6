"""A breaker around a stage: one that keeps failing is left alone for a while, then tried again."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from gateway.metrics import GatewayMetrics
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, QueueFull, StageUnavailable
from nextvec.logs import get_log

log = get_log(__name__)

MIN_CALLS = 20
"""Calls within the window before their share of failures means anything."""

PROBES = 3
"""Calls let through after a pause; all of them have to succeed."""

_SLICES = 10
"""Parts of the window that are counted together, and forgotten together."""


class State(Enum):
    """The value is that of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class BreakerOpen(StageUnavailable):
    """The call was not made."""


@dataclass
class _Slice:
    """The calls that ended within a part of the window, which is over at `end`, and what they came to."""

    end: float
    calls: int = 0
    failures: int = 0


@dataclass
class _Trial:
    """The calls let through after a pause; what comes of calls that were made before it says nothing."""

    begun: int = 0
    succeeded: int = 0


@dataclass
class Breaker:
    """Closed, it lets every call through and counts those that are refused, late or lost.

    When at least `share` of the calls that ended within `window_seconds` or are under way were, and there
    are enough of them, it opens: every call raises BreakerOpen at once. After `open_seconds` a few calls are
    let through as probes. All of them succeeding closes it, one failing opens it again for as long.

    Calls that have less than `fair_seconds` do not count: a client in too much of a hurry is not the stage's
    fault, and must not cost the others their answers.
    """

    name: str
    metrics: GatewayMetrics
    share: float
    window_seconds: float
    open_seconds: float
    fair_seconds: float
    clock: Callable[[], float] = time.monotonic
    _state: State = field(default=State.CLOSED, init=False)
    _window: deque[_Slice] = field(default_factory=deque, init=False)
    _trial: _Trial = field(default_factory=_Trial, init=False)
    _until: float = field(default=-math.inf, init=False)
    _under_way: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.metrics.breaker_state.labels(self.name).set(self._state.value)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @contextmanager
    def guard(self, deadline: Deadline) -> Iterator[None]:
        """Around one call, which has until `deadline`. Raises BreakerOpen where it is not to be made."""
        fair = deadline.remaining >= self.fair_seconds
        trial = self._enter()
        counts = fair and trial is None
        self._under_way += counts
        try:
            try:
                yield
            finally:
                self._under_way -= counts
        except (QueueFull, DeadlineExceeded, StageUnavailable):
            if fair:
                self._failed(trial)
            else:
                self._undecided(trial)
            raise
        except BaseException:
            # A caller that has gone, and whatever else went wrong, tell nothing of the stage's load.
            self._undecided(trial)
            raise
        if counts:
            self._current().calls += 1
        self._succeeded(trial)

    def _enter(self) -> _Trial | None:
        now = self.clock()
        if self._state is State.OPEN and now >= self._until:
            self._trial = _Trial()
            self._turn(State.HALF_OPEN)
        if self._state is State.CLOSED:
            return None
        if self._state is State.OPEN or self._trial.begun >= PROBES:
            again = f"in {self._until - now:.1f} s" if self._state is State.OPEN else "now"
            raise BreakerOpen(
                f"the {self.name} stage is left alone, for {self.share:.0%} or more of its calls were "
                f"refused, late or lost; it is tried again {again}"
            )
        self._trial.begun += 1
        return self._trial

    def _succeeded(self, trial: _Trial | None) -> None:
        if trial is self._trial and self._state is State.HALF_OPEN:
            trial.succeeded += 1
            if trial.succeeded == PROBES:
                self._window.clear()
                self._turn(State.CLOSED)

    def _failed(self, trial: _Trial | None) -> None:
        if trial is not None:
            if trial is self._trial and self._state is State.HALF_OPEN:
                self._open()
        elif self._state is State.CLOSED:
            current = self._current()
            current.calls += 1
            current.failures += 1
            # Of a burst the refused end first; those that were let in are under way.
            calls = self._under_way + sum(part.calls for part in self._window)
            failures = sum(part.failures for part in self._window)
            if calls >= MIN_CALLS and failures >= self.share * calls:
                self._open()

    def _undecided(self, trial: _Trial | None) -> None:
        if trial is not None:
            trial.begun -= 1  # another may take its place

    def _current(self) -> _Slice:
        """The part of the window that is now; those that have left the window are forgotten."""
        now = self.clock()
        while self._window and self._window[0].end <= now - self.window_seconds:
            self._window.popleft()
        if not self._window or self._window[-1].end <= now:
            self._window.append(_Slice(now + self.window_seconds / _SLICES))
        return self._window[-1]

    def _open(self) -> None:
        self._until = self.clock() + self.open_seconds
        self._turn(State.OPEN)

    def _turn(self, state: State) -> None:
        self._state = state
        name = state.name.lower()
        self.metrics.breaker_state.labels(self.name).set(state.value)
        self.metrics.breaker_transitions.labels(self.name, name).inc()
        log.warning("breaker", stage=self.name, state=name)
