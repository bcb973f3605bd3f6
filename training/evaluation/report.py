"""What an evaluation found: as JSON, as Markdown, and as a look-up of figures by name."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from training.evaluation.bars import Bar, Verdict
from training.evaluation.intervals import Estimate

Figures = Mapping[str, Any]
"""Estimates by name, nested: a value is an Estimate, a list of them, or again Figures."""


@dataclass(frozen=True)
class Report:
    """All figures of one evaluation, and what was evaluated.

    `figures` holds, every leaf an Estimate:

        decode.<real|predicted|barycentre|medoid>.<steps>.{bleu,token_f1,exact,cosine}
        lvm.<route or baseline>.{cosine,centred_cosine,contrastive_accuracy,r_at_1,r_at_5,mrr,par}
        gains.<route>.<baseline>.<metric>      by how much the route is ahead, window by window
        ladder.<1|3|5|extractive>              share of all routes' requests that end there
        keyword_hit, entity_hit                of all routes' answers, against the caller's own text
        gibberish                              of all routes' texts at rung 1, before any check
        keyword_hit_source, entity_hit_source, gibberish_served     see training.evaluation.ladder
        routes.<route>.{ladder.*, keyword_hit, ...}
        habits.<route or baseline>.{shuffled,reversed,roll_out,offsets}
        round_trip.<kind>                      l2 lost by being text for once
    """

    figures: Figures
    about: Mapping[str, Any]
    verdicts: tuple[Verdict, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether no bar is missed."""
        return all(verdict.passed for verdict in self.verdicts)

    def held_to(self, bars: Iterable[Bar]) -> "Report":
        """The same with every bar's verdict."""
        leaves = self.leaves()
        return replace(self, verdicts=tuple(bar.judge(leaves) for bar in bars))

    def leaves(self) -> dict[str, Estimate]:
        """Every estimate by its dotted name."""
        return dict(_leaves(self.figures))

    def as_dict(self) -> dict[str, Any]:
        """JSON's view: every estimate as value, low and high."""
        return {
            **_plain(self.figures),
            "about": dict(self.about),
            "bars": [asdict(verdict) for verdict in self.verdicts],
        }

    def write_json(self, path: Path) -> None:
        """Writes `as_dict`, replacing the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def _leaves(figures: Figures, prefix: str = "") -> Iterator[tuple[str, Estimate]]:
    for name, value in figures.items():
        if isinstance(value, Estimate):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield from _leaves({str(i): entry for i, entry in enumerate(value)}, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {bound: round(number, 5) for bound, number in asdict(value).items()}
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value]
