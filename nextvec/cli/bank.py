"""`nextvec bank`: banks of real text, which predictions are pulled onto."""

from pathlib import Path
from typing import Annotated

import typer

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json

app = typer.Typer(help="Banks of real text, which predictions are pulled onto.", no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="Folders or files of .txt, .md or .jsonl(.gz) documents."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of an encoded corpus (nextvec corpus encode), instead of documents; "
            "nothing is encoded again.",
        ),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", file_okay=False, help="Where the bank goes; without, the family's."),
    ] = None,
    family: Annotated[str, typer.Option(help="Model family whose encoder makes the vectors.")] = "mini",
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build a bank: cut documents into chunks, encode them, index them; or index an encoded corpus."""
    from dataclasses import asdict

    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from nextvec.errors import InvalidInput
    from nextvec.family import Family
    from services.snap.bank import Bank
    from training.bank import build_bank, build_bank_of_corpus

    if bool(folder) == bool(corpus):
        raise InvalidInput("give documents or --corpus, one of the two")

    source = Family.open(family, (artifacts or artifacts_folder()) / "families")
    target = out_folder or source.part("bank")
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("reading", total=None)
        for step in (
            build_bank_of_corpus(corpus, source, target)
            if corpus
            else build_bank(folder or [], source, target)
        ):
            progress.update(task, description=step.step, completed=step.done, total=step.total)
    record = Bank.open(target, source.space).record
    if as_json:
        print_json({"folder": str(target), "id": record.id, **asdict(record)})
        return
    size = f"{record.entries:,} chunks of {record.documents:,} documents"
    index = record.index
    found = "exact search" if index.kind == "exact" else f"approximate search, recall {index.recall:.3f}"
    out.print(f"{target}: {size}, {found}, {record.id}", soft_wrap=True)
    err.print("[dim]a system that runs keeps its bank until it is started again[/]")
