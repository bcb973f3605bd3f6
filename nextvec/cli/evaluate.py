"""`nextvec eval`: how good every stage is, on documents that nothing was trained on."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextvec.cli.exits import FOUND_WRONG
from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import err, out
from nextvec.routes import ROUTES

if TYPE_CHECKING:
    from training.evaluation.report import Report

RESULTS = Path("docs") / "results"


def evaluate(
    documents: Annotated[
        list[Path],
        typer.Option(exists=True, help="File or folder of documents that nothing was trained on."),
    ],
    family: Annotated[str, typer.Option(help="Model family.")] = "mini",
    route: Annotated[list[str] | None, typer.Option(help="Route; without, all six.")] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="Model, by name, whose predictions are measured as well; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Documents, at most.")] = 100,
    chunks: Annotated[int, typer.Option(min=6, help="Chunks in a row of each document, at most.")] = 64,
    decoded: Annotated[int, typer.Option(min=1, help="Vectors decoded, of each kind.")] = 200,
    requests: Annotated[int, typer.Option(min=1, help="Whole requests, of each route.")] = 50,
    bank: Annotated[Path | None, typer.Option(help="Bank to snap to; without, the family's.")] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Encoded training corpus; fits the linear baselines on it anew and keeps them.",
        ),
    ] = None,
    bars: Annotated[
        str | None, typer.Option(help="Bars to hold the figures to: cpu, accelerator, or a .toml file.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Decoder backend.")] = "native",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            file_okay=False,
            help=f"Folder for page, JSON and pictures; without it and --json, {RESULTS}.",
        ),
    ] = None,
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
) -> None:
    """Measure prediction, decoding and whole requests, next to simple baselines.

    Every figure has its interval over documents. With --bars the command fails when one is missed.
    """
    from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

    from nextvec.family import Family
    from training.documents import read_documents
    from training.evaluation.bars import read_bars
    from training.evaluation.baselines import Baselines
    from training.evaluation.evaluate import Options
    from training.evaluation.evaluate import evaluate as run

    wanted = read_bars(bars) if bars else []
    root = artifacts or artifacts_folder()
    source = Family.open(family, root / "families")
    fitted = root / "lvm" / "baselines" / f"{source.space}.safetensors"
    options = Options(
        documents=limit,
        chunks=chunks,
        decoded=decoded,
        requests=requests,
        models=root / "lvm" / "models",
        candidates=tuple(candidate or ()),
        bank=bank,
        baselines=fitted,
        backend=backend,
    )
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err) as progress:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=total)

        if training:
            Baselines.of(training, tell).save(fitted)
        report = run(read_documents(*documents), source, route or [r.name for r in ROUTES], options, tell)
    names = ", ".join(path.name for path in documents)
    report = replace(report.held_to(wanted), about={"files": names, **report.about})
    if json_file:
        report.write_json(json_file)
    if out_folder or not json_file:
        _write(report, out_folder or RESULTS)
    _show(report)
    if not report.passed:
        raise typer.Exit(FOUND_WRONG)


def _write(report: "Report", folder: Path) -> None:
    from training.evaluation import plots
    from training.evaluation.markdown import page

    pictures = plots.draw(report, folder)
    report.write_json(folder / "report.json")
    (folder / "report.md").write_text(page(report, pictures), encoding="utf-8")


def _show(report: "Report") -> None:
    from rich.table import Table

    from training.evaluation.ladder import HEADLINE
    from training.evaluation.lvm import METRICS

    metrics = ("bleu", "token_f1", "exact", "cosine")
    decode = Table("vectors", "steps", *metrics, title="Vectors to text")
    for kind, steps in report.figures["decode"].items():
        for step, found in steps.items():
            decode.add_row(kind, step, *(f"{found[metric].value:.3f}" for metric in metrics))
    predict = Table("predictor", *METRICS, "par", title="Next vector")
    for name, found in report.figures["lvm"].items():
        predict.add_row(name, *(f"{found[metric].value:.3f}" for metric in (*METRICS, "par")))
    out.print(decode, predict)
    shares = {f"rung {rung}": share for rung, share in report.figures["ladder"].items()}
    shares |= {name: report.figures[name] for name in HEADLINE if name in report.figures}
    out.print(", ".join(f"{name.replace('_', ' ')} {share.value:.1%}" for name, share in shares.items()))
    for verdict in report.verdicts:
        colour = {"reached": "green", "level": "yellow", "missed": "red"}[verdict.outcome]
        mark = f"[{colour}]{verdict.outcome:7}[/]"
        out.print(f"{mark} {verdict.what}: {verdict.wanted}; {verdict.found}")
