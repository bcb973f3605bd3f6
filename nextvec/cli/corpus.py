"""`nextvec corpus`: documents to chunks on disk, and chunks to vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.family import Family

app = typer.Typer(help="Documents to chunks on disk, and chunks to vectors.", no_args_is_help=True)

FamilyName = Annotated[str, typer.Option("--family", help="Model family.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]


@app.command()
def build(
    documents: Annotated[
        list[str],
        typer.Argument(help="Files and folders of .txt, .md or .jsonl(.gz), or hf:DATASET[:CONFIG]."),
    ],
    out_folder: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Folder of the corpus; resumes what is there.")
    ],
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the documents to take, by a hash of their ids.")
    ] = 1.0,
    licence: Annotated[
        str,
        typer.Option(help="Licence of documents that state none, such as 'own work'; models name it."),
    ] = "",
    clean: Annotated[bool, typer.Option(help="Drop links, tables, reference lists and id strings.")] = True,
    deduplicate: Annotated[bool, typer.Option(help="Take each document once.")] = True,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Cut documents into chunks within the family's token limit, in Parquet files with a card."""
    from training import corpus
    from training.documents import read_documents, share_of

    source = Family.open(family, (artifacts or artifacts_folder()) / "families")
    read = (
        document
        for document in read_documents(*documents, licence=licence)
        if share_of(document.id, "sample") < share
    )
    done = chunks = unstated = 0
    with err.status("reading documents") as status:
        for counts in corpus.build(read, source, out_folder, clean=clean, deduplicate=deduplicate):
            done, chunks = done + counts.documents, chunks + counts.chunks
            unstated += counts.without_licence
            status.update(f"{done:,} documents, {chunks:,} chunks")
    if unstated:
        err.print(
            f"[dim]{unstated:,} documents state no licence, without which no model is trained on them; "
            "--licence states one[/]"
        )
    figures = {"documents": done, "chunks": chunks, "parts": len(corpus.parts(out_folder))}
    _report(out_folder, figures, as_json)


@app.command()
def encode(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the corpus.")],
    batch: Annotated[int, typer.Option(min=1, help="Chunks encoded together.")] = 64,
    ray_workers: Annotated[
        int, typer.Option(min=0, help="Workers on Ray, over all machines of its cluster; 0 is this process.")
    ] = 0,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Write the vectors of every chunk beside them; goes on where it was stopped."""
    import pyarrow.parquet as pq
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from services.families.embedder import Embedder
    from training import corpus

    source = Family.open(family, (artifacts or artifacts_folder()) / "families")
    parts = corpus.parts(folder)
    if ray_workers:
        from training.ray_encoding import encode_on_ray

        work = encode_on_ray(folder, source, ray_workers, batch=batch)
    else:
        work = corpus.encode(folder, Embedder.load(source), batch, space=source.space)
    chunks, total = 0, sum(pq.read_metadata(part).num_rows for part in parts)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("encoding chunks", total=total)
        for count in work:
            chunks += count
            progress.update(task, completed=chunks)
    _report(folder, {"chunks": chunks, "parts": len(parts), "space": source.space}, as_json)


def _report(folder: Path, figures: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(folder), **figures})
        return
    out.print(f"{folder}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
