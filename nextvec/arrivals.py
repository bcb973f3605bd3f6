"""How soon the next item is likely to come, from how they came of late."""

_WEIGHT = 0.125
"""Of the latest gap in the average: a burst of a dozen items is enough to learn from, or to forget."""

_PATIENCE = 2
"""Average gaps to wait: half of that would miss every other item where gaps vary."""


class Arrivals:
    """Gaps between items that came while others were being worked on. Times are in seconds on one clock.

    An item that finds nobody else tells that there is no company, however soon after the last one it came:
    a client that asks again when it has its answer never shares a batch with itself.
    """

    def __init__(self, bound: float) -> None:
        """`bound` is the longest that waiting for the next item may take."""
        self._bound = bound
        self._gap = bound
        self._last = 0.0

    def note(self, now: float, *, alone: bool) -> None:
        """An item has come; `alone` says whether no other was waiting or being computed."""
        gap = self._bound if alone else min(now - self._last, self._bound)
        self._gap += _WEIGHT * (gap - self._gap)
        self._last = now

    @property
    def worth_waiting_until(self) -> float:
        """Until when the next item is likely to come; a time past where it is not likely within the bound."""
        patience = _PATIENCE * self._gap
        return self._last + patience if patience < self._bound else self._last
