"""Figures, held to the bars, and how they are shown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bars import BARS, Bar
from benchmarks.harness import Spread


@dataclass(frozen=True)
class Result:
    """One figure. `bar` is set where there is one by the figure's name; quartiles where there are several.

    The value is NaN where a figure was owed to a bar and could not be measured, which misses it.
    """

    name: str
    bench: str
    what: str
    value: float
    unit: str
    spread: Spread | None = None
    bar: Bar | None = None

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    @property
    def passed(self) -> bool | None:
        """Whether the figure reaches its bar; None where it has none."""
        return self.bar.passed_by(self.value) if self.bar else None

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "what": self.what,
            "value": self.value if self.measured else None,
            "unit": self.unit,
            "quartiles": [self.spread.low, self.spread.high] if self.spread else None,
            "bar": self.bar.limit if self.bar else None,
            "passed": self.passed,
        }


def held(name: str, found: Spread | float, note: str = "") -> Result:
    """A figure that has a bar, `note` saying what it is of; raises KeyError where it has none."""
    bar = BARS[name]
    what = f"{bar.what}; {note}" if note else bar.what
    return _result(name, bar.bench, what, found, bar.unit, bar)


def figure(name: str, bench: str, what: str, found: Spread | float, unit: str) -> Result:
    """A figure without a bar."""
    return _result(name, bench, what, found, unit, None)


def unmeasured(bars: Iterable[Bar], results: Sequence[Result]) -> list[Bar]:
    """Those of the bars that nothing was held to."""
    names = {result.name for result in results}
    return [bar for bar in bars if bar.name not in names]


def missed(bar: Bar) -> Result:
    """What stands for the figure that a bar was owed and did not get."""
    return Result(bar.name, bar.bench, bar.what, math.nan, bar.unit, bar=bar)


def rounded(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def shown(result: Result) -> tuple[str, str, str, str]:
    """Value with unit, quartiles, bar, and pass or fail, as a row of a table has them."""
    spread = result.spread
    quartiles = f"{rounded(spread.low)} to {rounded(spread.high)}" if spread else ""
    bar = f"{result.bar.sense} {rounded(result.bar.limit)}" if result.bar else ""
    verdict = {True: "pass", False: "fail", None: ""}[result.passed]
    value = f"{rounded(result.value)} {result.unit}".strip() if result.measured else "not measured"
    return value, quartiles, bar, verdict


def _result(name: str, bench: str, what: str, found: Spread | float, unit: str, bar: Bar | None) -> Result:
    if isinstance(found, Spread):
        return Result(name, bench, what, found.median, unit, found, bar)
    return Result(name, bench, what, found, unit, None, bar)
