"""A report as a page of Markdown with its pictures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.baselines import NAMES
from training.evaluation.intervals import Estimate
from training.evaluation.ladder import SHARES
from training.evaluation.lvm import METRICS
from training.evaluation.report import Report

_NOTES = {
    "bars": "Level: reached, but the interval includes what the figure had to be above.",
    "decode": (
        "BLEU (sacrebleu, corpus level, cased), token F1 (multiset overlap of words and punctuation, cased) "
        "and exact match are against the text that truly stands there; for all kinds but `real` that is the "
        "text to be predicted, not one the vector was made of. The cosine is that of the re-encoded text to "
        "the decoded vector. Each step counts the best hypothesis by then, as the ladder does."
    ),
    "lvm": (
        "Names in italics need no training or a linear fit. R@1, R@5 and MRR are within the document's run "
        "of chunks, the context excluded; contrastive accuracy is the share of other targets in a batch that "
        "are farther off than the right one, its neighbours left out; PAR above 1 means copying."
    ),
    "gains": "Paired differences, window by window: a route is ahead where the interval lies above 0.",
    "ladder": (
        "Share of requests whose first text to pass the checks came at this rung. Keyword and entity hit: "
        "answers with a content word, or a name or number, of the caller's own text. Gibberish: texts of "
        "rung 1, before any check, that fail the checks of repetition and variety. The last three columns "
        "are after the checks and say little about the models: hits of the whole source (the caller's text "
        "and the neighbours' in the bank), of which every decoded answer must have a content word, and "
        "answers that are gibberish still. For `direct` the source is the caller's text and nothing else, "
        "so that its keyword hit is settled by the checks as well."
    ),
}


def page(report: Report, pictures: Sequence[Path]) -> str:
    """The whole page; pictures are linked by their file names."""
    shown = {path.stem: f"![{path.stem}]({path.name})" for path in pictures}
    figures = report.figures
    parts = [
        "# Evaluation",
        _about(report),
        *(["## Bars", _NOTES["bars"], _bars(report)] if report.verdicts else []),
        "## Vectors to text",
        _NOTES["decode"],
        _table(
            ["vectors", "steps", "BLEU", "token F1", "exact", "cosine"],
            (
                [kind, step, *(_cell(found[m]) for m in ("bleu", "token_f1", "exact", "cosine"))]
                for kind, steps in figures["decode"].items()
                for step, found in steps.items()
            ),
        ),
        shown.get("decoding", ""),
        "Distance to the target that is lost by being text for once (round-trip gap, l2 of directions):",
        _table(["vectors", "gap"], ([kind, _cell(gap)] for kind, gap in figures["round_trip"].items())),
        "## Next vector",
        _NOTES["lvm"],
        _table(
            ["predictor", *(_label(m) for m in (*METRICS, "par"))],
            (
                [f"*{name}*" if name in NAMES else name, *(_cell(found[m]) for m in (*METRICS, "par"))]
                for name, found in figures["lvm"].items()
            ),
        ),
        shown.get("prediction", ""),
        _NOTES["gains"],
        _table(
            ["route", "over", *map(_label, METRICS)],
            (
                [route, name, *(_cell(found[m]) for m in METRICS)]
                for route, over in figures["gains"].items()
                for name, found in over.items()
            ),
        ),
        "Cosine of predictions to those from the context in another order, and of a roll-out to the truth:",
        _table(
            ["route", "shuffled", "reversed", "roll-out"],
            (
                [
                    name,
                    _cell(habits["shuffled"]),
                    _cell(habits["reversed"]),
                    ", ".join(f"{step.value:.3f}" for step in habits.get("roll_out", ())),
                ]
                for name, habits in figures["habits"].items()
                if "shuffled" in habits
            ),
        ),
        shown.get("offsets", ""),
        "## Requests",
        _NOTES["ladder"],
        _requests(figures),
        shown.get("ladder", ""),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(report: Report) -> str:
    rows = [(name, value) for name, value in report.about.items() if name != "models"]
    rows += [(f"model of {route}", name) for route, name in report.about.get("models", {}).items()]
    return _table(["", ""], ([name.replace("_", " "), str(value)] for name, value in rows))


def _bars(report: Report) -> str:
    rows = (
        [v.outcome if v.passed else f"**{v.outcome}**", v.what, v.wanted, v.found.replace("; ", "<br>")]
        for v in report.verdicts
    )
    return _table(["", "bar", "wanted", "found"], rows)


def _requests(figures: Mapping[str, Any]) -> str:
    return _table(
        ["route", *(f"rung {rung}" for rung in figures["ladder"]), *map(_label, SHARES)],
        (
            [
                route,
                *(_cell(share) for share in found["ladder"].values()),
                *(_cell(found[name]) if name in found else "" for name in SHARES),
            ]
            for route, found in {"all": figures, **figures["routes"]}.items()
        ),
    )


def _label(name: str) -> str:
    return {"r_at_1": "R@1", "r_at_5": "R@5", "mrr": "MRR", "par": "PAR"}.get(name, name.replace("_", " "))


def _cell(found: Estimate) -> str:
    digits = 1 if found.value >= 5 else 3
    return f"{found.value:.{digits}f} ({found.low:.{digits}f}–{found.high:.{digits}f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = list(rows)
    if not body:
        return "None."
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
