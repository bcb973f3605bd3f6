"""Timing: warm-up, sides that take turns, medians with quartiles.

Sides of a comparison take turns within each round, so that whatever else the machine does meets them
alike; a speed-up is the median of the rounds' ratios.
"""

import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Say = Callable[[str], None]
"""Tells a person what is going on."""


FULL_BANK = 339_615
"""Vectors of the original's bank, for which the bars are; with fewer, they are held to nothing."""


@dataclass(frozen=True)
class Options:
    """What to measure with. `quick` is for seeing that everything runs; its figures mean little."""

    artifacts: Path
    family: str = "mini"
    quick: bool = False
    sizes: tuple[str, ...] = ("mini", "t5-base")  # of the decoder
    vectors: int = FULL_BANK
    say: Say = field(default=lambda message: None)

    def rounds(self, full: int) -> int:
        """Rounds to run where a whole measurement has `full`."""
        return min(full, 3) if self.quick else full


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of figures; the quartiles are those between which half of them lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Raises ValueError where there are none."""
        if not len(figures):
            raise ValueError("there is nothing to take a median of")
        low, median, high = np.quantile(np.asarray(figures, dtype=np.float64), (0.25, 0.5, 0.75)).tolist()
        return cls(median, low, high)

    def times(self, factor: float) -> "Spread":
        """In another unit; `factor` is positive."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)

    def inverse(self, numerator: float = 1.0) -> "Spread":
        """Spread of numerator / figure: seconds for so many things become things a second."""
        return Spread(numerator / self.median, numerator / self.high, numerator / self.low)


def interleaved(
    sides: Mapping[str, Callable[[int], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each side in each round; a side is told the round, from 0, so that all have the same input.

    Every second round goes in the opposite order, so that no side always runs on what another left in the
    processor's caches.
    """
    for turn in range(warmup):
        for run in sides.values():
            run(turn)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with _no_collection():
        for turn in range(rounds):
            order = list(sides)[:: -1 if turn % 2 else 1]
            for name in order:
                started = time.perf_counter()
                sides[name](turn)
                seconds[name].append(time.perf_counter() - started)
            gc.collect()
    return seconds


async def repeated(call: Callable[[], Awaitable[object]], rounds: int, warmup: int = 1) -> list[float]:
    """Seconds of a call that is awaited, in each round."""
    for _ in range(warmup):
        await call()
    seconds = []
    with _no_collection():
        for _ in range(rounds):
            started = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - started)
    return seconds


def speedup(reference: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times faster ours is, by the rounds of one interleaved run."""
    return Spread.of([theirs / mine for theirs, mine in zip(reference, ours, strict=True)])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps the garbage collector from stopping one side for what another left."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
