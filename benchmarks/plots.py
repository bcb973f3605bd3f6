"""The figures of a run as pictures."""

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Result, rounded

_PASSED, _MISSED = "tab:green", "tab:red"
_TASKS = {"step1": "one step", "batch8": "one step, batch 8", "ladder": "five steps"}
_SIZES = {"mini": "mini", "t5_base": "T5-base"}
_STAGE_TIME = re.compile(r"scale_clients(\d+)_([a-z]+)_(queue|compute)")


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Writes the pictures that these results are enough for and returns their paths."""
    pictures = {"bars": _bars(results), "decode": _decode(results), "stages": _stages(results)}
    paths = []
    for name, picture in pictures.items():
        if picture is not None:
            path = folder / f"performance_{name}.png"
            # Without the date and version that matplotlib adds, equal results have equal pictures.
            picture.savefig(path, dpi=100, metadata={"Software": None})
            paths.append(path)
    return paths


def _bars(results: Sequence[Result]) -> Figure | None:
    """How many times better than its bar each figure is, but for bars of 0, such as that of failures."""
    shown = [r for r in results if r.bar is not None and r.bar.limit > 0 and r.value > 0]
    if not shown:
        return None
    margins = [r.value / r.bar.limit if r.bar.sense == "≥" else r.bar.limit / r.value for r in shown if r.bar]
    figure = Figure(figsize=(11, 1 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    # Lengths run from the bar itself, at 1: to the right is better.
    lengths = [margin - 1 for margin in margins]
    axes.barh(places, lengths, left=1, color=[_PASSED if r.passed else _MISSED for r in shown])
    axes.axvline(1, color="black", linewidth=1)
    for place, result in zip(places, shown, strict=True):
        axes.annotate(f" {rounded(result.value)} {result.unit}", (max(1, margins[place]), place), va="center")
    axes.set_yticks(places, [f"{r.bench}: {r.bar.what}" for r in shown if r.bar])
    axes.set(xscale="log", xlabel="times better than the bar", xlim=(None, 2 * max(1, *margins)))
    axes.invert_yaxis()
    return figure


def _decode(results: Sequence[Result]) -> Figure | None:
    """Milliseconds of every engine, quartiles as whiskers."""
    panels = {
        (size, task): found
        for size in _SIZES
        for task in _TASKS
        if (found := [r for r in results if re.fullmatch(f"{size}_{task}_\\w+_ms", r.name)])
    }
    if not panels:
        return None
    sizes = [size for size in _SIZES if any(size == known for known, _ in panels)]
    figure = Figure(figsize=(12, 2.4 * len(sizes)), layout="constrained")
    grid = figure.subplots(len(sizes), len(_TASKS), squeeze=False)
    for (size, task), found in panels.items():
        axes = grid[sizes.index(size)][list(_TASKS).index(task)]
        names = [_engine(r, f"{size}_{task}") for r in found]
        spreads = [(r.spread.low, r.spread.high) if r.spread else (r.value, r.value) for r in found]
        values = [r.value for r in found]
        below = [value - low for value, (low, _) in zip(values, spreads, strict=True)]
        above = [high - value for value, (_, high) in zip(values, spreads, strict=True)]
        axes.barh(names, values, xerr=[below, above], capsize=3)
        axes.set(title=f"{_SIZES[size]}, {_TASKS[task]}", xlabel="ms")
        axes.invert_yaxis()
    return figure


def _engine(result: Result, start: str) -> str:
    name = result.name.removeprefix(f"{start}_").removesuffix("_ms")
    return {"vec2text_library": "vec2text", "limit": "reading the weights"}.get(name, name)


def _stages(results: Sequence[Result]) -> Figure | None:
    """Where a request's time goes, stage by stage, as the load grows."""
    times = {
        (int(match[1]), match[2], match[3]): result.value
        for result in results
        if (match := _STAGE_TIME.fullmatch(result.name))
    }
    if not times:
        return None
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes: Axes = figure.subplots()
    clients = sorted({load for load, _, _ in times})
    bottom = [0.0] * len(clients)
    for stage, part in dict.fromkeys((stage, part) for _, stage, part in times):
        heights = [times.get((load, stage, part), 0.0) for load in clients]
        hatch = "//" if part == "queue" else None
        axes.bar(
            [str(load) for load in clients], heights, bottom=bottom, label=f"{stage}, {part}", hatch=hatch
        )
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set(xlabel="clients at once, two decoders", ylabel="ms, medians of the stages")
    axes.legend(fontsize="small")
    return figure
