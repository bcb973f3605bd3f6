"""When a stage call that failed is made again.

All data RPCs of the stages are pure functions, so a second call does no harm but the work it costs. It is
made where another replica may do better, while the deadline allows and the budget lasts: without a budget,
a stage that fails under load is given still more of it.
"""

from nextvec.errors import Cancelled, InternalError, NextvecError, QueueFull, StageUnavailable

ATTEMPTS = 3
"""Calls made for one request, the first included."""

BACKOFF_SECONDS = 0.05
"""Pause before a stage is asked again that has no other replica; doubled each time."""

RATIO = 0.2
"""Retries as a share of calls, in the long run."""

BURST = 128
"""Retries that may come at once: half of what a gateway has in flight at most, as when one of two dies."""

UNAVAILABLE = "unavailable"
FULL = "full"
REASONS = (UNAVAILABLE, FULL)


class RetryBudget:
    """A bucket of tokens: each call adds `ratio` of one, each retry takes one."""

    def __init__(self, ratio: float = RATIO, burst: float = BURST) -> None:
        self._ratio = ratio
        self._burst = burst
        self._tokens = burst

    def earn(self) -> None:
        """A call is made."""
        self._tokens = min(self._burst, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Takes a token for a retry; False where there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def reason_to_retry(error: NextvecError) -> str | None:
    """One of REASONS, or None where the same call would fail again or must not be repeated.

    A stage that goes away while it answers ends a call as unavailable or, unasked, as cancelled. A bug in a
    stage has an id; an internal error without one is gRPC's own, of a connection that broke.
    """
    if isinstance(error, StageUnavailable | Cancelled):
        return UNAVAILABLE
    if isinstance(error, InternalError) and not error.error_id:
        return UNAVAILABLE
    return FULL if isinstance(error, QueueFull) else None


def pause_before_retry(error: NextvecError, attempts: int, *, another: bool) -> float:
    """Seconds to wait; `attempts` calls were made, and `another` says that a replica is not tried yet."""
    if another:
        return 0
    if isinstance(error, QueueFull):
        return error.retry_delay_ms / 1000
    return BACKOFF_SECONDS * 2 ** (attempts - 1)
