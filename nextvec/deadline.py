"""A point in time by which work must be done, handed from the client's call down to every stage."""

import time
from dataclasses import dataclass

import grpc

from nextvec.errors import DeadlineExceeded


@dataclass(frozen=True)
class Deadline:
    """A moment on `time.monotonic()`'s clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of(cls, context: grpc.aio.ServicerContext) -> "Deadline | None":
        """The deadline of the call being served; None where the client set none."""
        remaining = context.time_remaining()
        return None if remaining is None else cls.after(remaining)

    @property
    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() >= self.at

    def within(self, seconds: float) -> "Deadline":
        """The sooner of this deadline and `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    def require(self, doing: str) -> None:
        """Raises DeadlineExceeded, naming what there is no time left for, if the moment has passed."""
        if self.expired:
            raise DeadlineExceeded(f"the deadline passed before {doing}")
