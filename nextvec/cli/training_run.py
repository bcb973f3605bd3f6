"""What all commands that train have in common: options, device, progress, result."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import err, out, print_json
from nextvec.family import Family

if TYPE_CHECKING:
    from training.loop import Progress, Schedule

Corpus = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Encoded corpus, from `nextvec corpus`.")
]
FamilyName = Annotated[str, typer.Option("--family", help="Model family.")]
Run = Annotated[
    Path, typer.Option(file_okay=False, help="Folder of checkpoint and log; resumes what is there.")
]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Time budget; the preset's otherwise.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Length in steps, instead of minutes.")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda or cuda:N; auto takes an accelerator where there is one.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice otherwise.")]
KnownIssue = Annotated[
    list[str] | None, typer.Option(help="What is wrong with the model, for its card; repeatable.")
]
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]


def family_named(name: str, artifacts: Path | None) -> Family:
    """The family of a name."""
    return Family.open(name, (artifacts or artifacts_folder()) / "families")


def budget(schedule: "Schedule", minutes: float | None, steps: int | None) -> "Schedule":
    """A schedule of another length, where one is given."""
    if steps is not None:
        return replace(schedule, steps=steps, minutes=minutes)
    return replace(schedule, minutes=minutes) if minutes is not None else schedule


def device_of(name: str, threads: int | None) -> Any:
    """The device of this process, which joins the others of its training, if there are."""
    import torch

    from training import processes

    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return processes.join(torch.device(name))


def watch(training: Iterator["Progress"], what: str) -> "Progress | None":
    """Shows a training's progress to its end and returns the last one; None where nothing was left to do."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from training import processes

    last = None
    silent = processes.rank() > 0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.1f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=err, disable=silent) as display:
        task = display.add_task(what, total=1.0)
        for last in training:
            display.update(
                task,
                completed=last.share,
                description=f"{what} step {last.step:,} loss {last.loss:.3f} {last.tokens_per_s:,.0f}/s",
            )
    return last


def count_up(work: Iterator[tuple[int, int]], what: str) -> None:
    """Shows work's progress, done and total, to its end."""
    from rich.progress import Progress

    with Progress(console=err) as display:
        task = display.add_task(what, total=None)
        for done, total in work:
            display.update(task, completed=done, total=total)


def report(folder: Path, last: "Progress | None", as_json: bool) -> None:
    """Prints where a trained part went and how far it came."""
    if as_json:
        print_json({"folder": str(folder), "step": last and last.step, "loss": last and last.loss})
        return
    ended = f"after step {last.step:,} at loss {last.loss:.3f}" if last else "was trained to its end before"
    out.print(f"{folder}: {ended}")
