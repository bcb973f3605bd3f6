"""`performance.md`: the figures of one run, as a page."""

from collections.abc import Mapping, Sequence

from benchmarks.bars import BENCHES
from benchmarks.results import Result, shown, unmeasured

_TITLES = {
    "decode": "Decoder, against the vec2text library",
    "encode": "Encoder, against transformers",
    "lvm": "Next vector",
    "snap": "Snap",
    "cache": "Decoder's cache",
    "gateway": "Whole requests",
}

_INTRODUCTION = """\
# Performance

Written by `nextvec bench all --out docs/results`; every figure is of that one run, on this machine:

{machine}

A value is the median, beside it the quartiles. Sides of a comparison take turns, and a ratio is the median
of the ratios of the rounds. The bars are for two cores with nothing else to do; a load near the number of
cores before the run means that there was something else. T5-base is the size of the public checkpoints,
with weights drawn at random and texts of 32 tokens.
"""


def page(results: Sequence[Result], machine: Mapping[str, str], benches: Sequence[str] = BENCHES) -> str:
    """Markdown with one table a bench, and a list of the bars that nothing was held to."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    parts = [_INTRODUCTION.format(machine=about)]
    for bench in benches:
        rows = [result for result in results if result.bench == bench]
        if rows:
            parts.append(_table(_TITLES[bench], rows))
    missing = unmeasured(results, benches)
    if missing:
        bars = "\n".join(
            f"- {bar.bench}: {bar.what} ({bar.sense} {bar.limit:g} {bar.unit})" for bar in missing
        )
        parts.append(f"## Not measured in this run\n\n{bars}\n")
    return "\n".join(parts)


def _table(title: str, results: Sequence[Result]) -> str:
    lines = ["| what | value | quartiles | bar | |", "|---|---|---|---|---|"]
    lines += [f"| {result.what} | {' | '.join(shown(result))} |" for result in results]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"
