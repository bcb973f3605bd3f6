"""`performance.md`: the figures of one run, as a page, with pictures, and as records beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bars import BARS, BENCHES
from benchmarks.plots import draw
from benchmarks.results import Result, shown, unmeasured

_TITLES = {
    "decode": "Decoder, against the vec2text library",
    "encode": "Encoder, against transformers",
    "lvm": "Next vector",
    "snap": "Snap",
    "cache": "Decoder's cache",
    "gateway": "Whole requests",
    "scale": "Load and replicas",
}

_INTRODUCTION = """\
# Performance

Written by `make bench`; the same figures as records are in [performance.json](performance.json). Every
figure is of that one run, on this machine:

{machine}

A value is the median, beside it the quartiles. Sides of a comparison take turns, and a ratio is the median
of the ratios of the rounds. Only an engine whose texts, on the family's own weights, are as good as the exact
one's by the bars of parity can be called the fastest, at either size. The bars are for two cores with nothing
else to do; a load near the number of cores before the run means that there was something else. T5-base is the
size of the public checkpoints, with weights drawn at random and texts of 32 tokens.
"""

_CAPTIONS = {
    "performance_bars": "How many times better than its bar each figure is; green reaches it",
    "performance_decode": "Milliseconds of every engine",
    "performance_stages": "Where the time goes as the load grows",
}


def write(
    folder: Path, results: Sequence[Result], machine: Mapping[str, str], benches: Sequence[str] = BENCHES
) -> None:
    """Writes page, pictures and records into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw(results, folder)
    (folder / "performance.md").write_text(page(results, machine, benches, pictures), encoding="utf-8")
    records = json.dumps([result.as_dict() for result in results], indent=1)
    (folder / "performance.json").write_text(f"{records}\n", encoding="utf-8")


def page(
    results: Sequence[Result],
    machine: Mapping[str, str],
    benches: Sequence[str] = BENCHES,
    pictures: Sequence[Path] = (),
) -> str:
    """Markdown: the bars, the pictures, one table a bench, and the bars that this run did not ask for."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    parts = [_INTRODUCTION.format(machine=about)]
    barred = [result for result in results if result.bar]
    if barred:
        passed = sum(result.passed is True for result in barred)
        parts.append(_table(f"Bars: {passed} of {len(barred)} reached", barred))
    parts += [f"![{_CAPTIONS[picture.stem]}]({picture.name})\n" for picture in pictures]
    for bench in benches:
        rows = [result for result in results if result.bench == bench]
        if rows:
            parts.append(_table(_TITLES[bench], rows))
    left_out = unmeasured((bar for bar in BARS.values() if bar.bench in benches), results)
    if left_out:
        bars = "\n".join(
            f"- {bar.bench}: {bar.what} ({bar.sense} {bar.limit:g} {bar.unit})" for bar in left_out
        )
        parts.append(f"## Left out of this run\n\n{bars}\n")
    return "\n".join(parts)


def _table(title: str, results: Sequence[Result]) -> str:
    lines = ["| what | value | quartiles | bar | |", "|---|---|---|---|---|"]
    lines += [f"| {result.what} | {' | '.join(shown(result))} |" for result in results]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"
