"""Bars that figures must reach, read from a TOML file.

    [[bars]]
    what = "real vector to text, no correction"
    figures = ["decode.real.0.bleu"]
    at_least = 12

`figures` are dotted names; `*` stands for any one name. A figure's value must be `at_least`, `at_most` or
`above` a number; `low_above` asks it of the lower end of its interval. `over` names a figure that is taken
off first. All figures that match must pass; with `some = true`, all those that `*` gives one and the same
name, for at least one such name. A bar whose figures match nothing is missed. Where a figure is `above` a
number that its interval includes, the bar is not missed, but the verdict says that the two are level.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextvec.errors import InvalidInput
from training.evaluation.intervals import Estimate

FOLDER = Path(__file__).resolve().parent / "presets"


class BarsError(InvalidInput):
    """A file of bars cannot be read."""


@dataclass(frozen=True)
class Verdict:
    """One bar and how it went; `found` says the figures, `level` that chance alone may have passed it."""

    what: str
    passed: bool
    wanted: str
    found: str
    level: bool = False

    @property
    def outcome(self) -> str:
        """In a word: missed, reached or level."""
        if not self.passed:
            return "missed"
        return "level" if self.level else "reached"


@dataclass(frozen=True)
class Bar:
    """One bar; see the module."""

    what: str
    figures: tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    low_above: float | None = None
    over: str | None = None
    some: bool = False

    def __post_init__(self) -> None:
        if not self.wanted:
            raise BarsError(f"bar {self.what!r} asks nothing; give at_least, at_most, above or low_above")

    @property
    def wanted(self) -> str:
        """What is asked, in words."""
        limits = (
            ("at least", self.at_least),
            ("at most", self.at_most),
            ("above", self.above),
            ("interval above", self.low_above),
        )
        asked = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
        return asked + (f" over {self.over}" if self.over else "") + (", for some" if self.some else "")

    def judge(self, leaves: Mapping[str, Estimate]) -> Verdict:
        """Holds the bar against figures by dotted name."""
        base = leaves.get(self.over) if self.over else Estimate(0, 0, 0)
        ahead = {name: _less(found, base.value) for name, found in leaves.items()} if base else {}
        groups: dict[str, list[str]] = {}  # names of figures that must pass together
        for pattern in self.figures:
            for bound, name in _matching(pattern, leaves) or [("", pattern)]:
                groups.setdefault(bound if self.some else "", []).append(name)
        passing = [
            names
            for names in groups.values()
            if all(name in ahead and self._holds(ahead[name]) for name in names)
        ]
        level = {name for name, found in ahead.items() if self._is_level(found)}
        if self.some and passing:
            passed, shown = True, min(passing, key=lambda names: len(level.intersection(names)))
        else:
            passed = len(passing) == len(groups)
            shown = [name for names in groups.values() for name in names]
        found = "; ".join(self._say(name, leaves.get(name), name in level) for name in shown)
        return Verdict(self.what, passed, self.wanted, found, passed and not level.isdisjoint(shown))

    def _holds(self, found: Estimate) -> bool:
        return (
            (self.at_least is None or found.value >= self.at_least)
            and (self.at_most is None or found.value <= self.at_most)
            and (self.above is None or found.value > self.above)
            and (self.low_above is None or found.low > self.low_above)
        )

    def _is_level(self, found: Estimate) -> bool:
        return self.above is not None and found.low <= self.above < found.value

    def _say(self, name: str, found: Estimate | None, level: bool) -> str:
        if found is None:
            return f"{name} is missing"
        said = f"{name} {found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
        return f"{said}, level with {self.above:g}" if level else said


def read_bars(name: str) -> list[Bar]:
    """The bars of a file, or those kept here under a name, `cpu` or `accelerator`.

    Raises BarsError naming what is wrong.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"bars-{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem.removeprefix("bars-") for p in FOLDER.glob("bars-*.toml")))
        raise BarsError(f"no bars {name!r}; have {known}, or give the path of a .toml file")
    try:
        entries: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["bars"]
        return [Bar(**{**entry, "figures": tuple(entry["figures"])}) for entry in entries]
    except BarsError as error:
        raise BarsError(f"{path}: {error.message}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BarsError(f"{path} is not a file of bars: {error!r}") from error


def _matching(pattern: str, leaves: Mapping[str, Estimate]) -> list[tuple[str, str]]:
    """What `*` stands for, and the whole name, of every figure that matches."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"([^.]+)"))
    found = ((expression.fullmatch(name), name) for name in leaves)
    return [(".".join(match.groups()), name) for match, name in found if match]


def _less(found: Estimate, base: float) -> Estimate:
    return Estimate(found.value - base, found.low - base, found.high - base)
