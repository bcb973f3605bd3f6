"""The figures of a report as pictures, each interval a whisker."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.baselines import NAMES
from training.evaluation.intervals import Estimate
from training.evaluation.report import Report

_DECODED = {"bleu": "BLEU", "token_f1": "token F1", "cosine": "cosine to the decoded vector"}
_PREDICTED = {
    "cosine": "cosine",
    "centred_cosine": "centred cosine",
    "contrastive_accuracy": "contrastive accuracy",
    "r_at_1": "R@1 in document",
    "r_at_5": "R@5 in document",
    "par": "PAR (above 1: copying)",
}
_BASELINE, _MODEL = "0.65", "tab:blue"


def draw(report: Report, folder: Path) -> list[Path]:
    """Writes all pictures of a report into a folder and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "decoding": _decoding(report),
        "prediction": _prediction(report),
        "offsets": _offsets(report),
        "ladder": _ladder(report),
    }
    paths = []
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        # Without the date and version that matplotlib adds, equal reports have equal pictures.
        picture.savefig(path, dpi=100, metadata={"Software": None})
        paths.append(path)
    return paths


def _decoding(report: Report) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, 3), _DECODED.items(), strict=True):
        for kind, steps in report.figures["decode"].items():
            found = [step[metric] for step in steps.values()]
            axes.errorbar([int(s) for s in steps], _values(found), _whiskers(found), label=kind, capsize=3)
        axes.set(xlabel="correction steps", title=label)
    axes.legend()
    return figure


def _prediction(report: Report) -> Figure:
    figure = Figure(figsize=(12, 7), layout="constrained")
    names = list(report.figures["lvm"])
    colours = [_BASELINE if name in NAMES else _MODEL for name in names]
    for axes, (metric, label) in zip(figure.subplots(2, 3).flat, _PREDICTED.items(), strict=True):
        found = [report.figures["lvm"][name][metric] for name in names]
        axes.barh(names, _values(found), xerr=_whiskers(found), color=colours, capsize=3)
        axes.set(title=label)
        axes.invert_yaxis()
    return figure


def _offsets(report: Report) -> Figure:
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, habits in report.figures["habits"].items():
        _line(left, habits["offsets"], name)
        if "roll_out" in habits:
            rolled = {str(step): found for step, found in enumerate(habits["roll_out"], 1)}
            _line(right, rolled, name)
    left.axvspan(-5.5, -0.5, color="0.95")
    left.set(xlabel="chunk, 0 = target, grey = context", ylabel="cosine of the prediction", title="by offset")
    right.set(xlabel="step", ylabel="cosine to the truth", title="roll-out")
    left.legend(fontsize="small")
    return figure


def _ladder(report: Report) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    routes = report.figures["routes"]
    start = np.zeros(len(routes))
    for rung in report.figures["ladder"]:
        shares = np.array([found["ladder"][rung].value for found in routes.values()])
        axes.barh(list(routes), shares, left=start, label=rung)
        start += shares
    axes.set(xlabel="share of requests", title="rung that a request ends at", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend()
    return figure


def _line(axes: Axes, found: Mapping[str, Estimate], label: str) -> None:
    line = ":" if label in NAMES else "-"
    axes.plot([int(at) for at in found], _values(list(found.values())), line, label=label, marker=".")


def _values(found: Sequence[Estimate]) -> list[float]:
    return [estimate.value for estimate in found]


def _whiskers(found: Sequence[Estimate]) -> np.ndarray:
    return np.array([[e.value - e.low for e in found], [e.high - e.value for e in found]]).clip(min=0)
