"""`nextvec sequences`: windows of five vectors and the next, and whether data has any order to learn."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextvec.cli.exits import FOUND_WRONG
from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.errors import InvalidInput
from nextvec.family import Family

if TYPE_CHECKING:
    from training.coherence import Report

app = typer.Typer(
    help="Windows of five vectors and the next, which models are trained on.", no_args_is_help=True
)

FamilyName = Annotated[str, typer.Option("--family", help="Model family.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]


class Split(StrEnum):
    """Which documents' windows are taken: 90%, 5% and 5% of them, by a hash of their ids."""

    ALL = "all"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Precision(StrEnum):
    """How vectors are stored. An encoded corpus has float16, which float32 only makes larger."""

    HALF = "float16"
    SINGLE = "float32"


@app.command()
def build(
    corpus: Annotated[
        Path, typer.Option(exists=True, help="Encoded corpus, or an .npz of sequences to bring into form.")
    ],
    out_file: Annotated[Path, typer.Option("--out", dir_okay=False, help="The .npz to write.")],
    split: Annotated[
        Split, typer.Option(help="Documents to take: 90%, 5% and 5% by a hash of their ids.")
    ] = Split.ALL,
    dtype: Annotated[Precision, typer.Option(help="Of the vectors.")] = Precision.HALF,
    source: Annotated[str, typer.Option(help="Where an .npz without a card comes from.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Write all windows of a corpus to an .npz, and a card beside it.

    Windows never cross documents. A build that was stopped goes on where it was when it is called again.
    An .npz without a card must be of the family's space; give its source and licence.
    """
    import json
    from dataclasses import replace

    from training.sequence_build import build as write
    from training.sequence_npz import card_of
    from training.sequences import Origin, Sequences

    if out_file.suffix != ".npz":
        raise InvalidInput(f"{out_file} must end in .npz")
    owner = Family.open(family, (artifacts or artifacts_folder()) / "families")
    with err.status(f"reading {corpus}"):
        sequences = Sequences.load(corpus, mapped=True)
    sequences.require(owner)
    if not any(origin.source for origin in sequences.origins):
        if not (source and licence):
            raise InvalidInput(f"{corpus} does not say where it comes from; give --source and --licence")
        sequences = replace(sequences, origins=[Origin(source, licence)] * len(sequences.ids))
    if not sequences.space:
        err.print(f"[dim]{corpus} does not name its space; it is taken to be {owner.space}[/]")
    if split != Split.ALL:
        sequences = sequences.part(split)
    _show(write(sequences, out_file, owner, split, dtype))
    card = json.loads(card_of(out_file).read_text(encoding="utf-8"))
    summary = {key: value for key, value in card.items() if not key.startswith("document_")}
    if as_json:
        print_json({"file": str(out_file), **summary})
        return
    size = f"{card['windows']:,} windows of {card['documents']:,} documents"
    out.print(f"{out_file}: {size}, {split}, space {card['space']}", soft_wrap=True)
    if sequences.crossing:
        out.print(f"{sequences.crossing:,} windows that reach into another document were left out")


@app.command()
def check(
    data: Annotated[
        Path,
        typer.Argument(
            exists=True, help="Text (.txt, .md, .jsonl(.gz) or a folder), corpus, or .npz of sequences."
        ),
    ],
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether data is text that moves on, which models of the next vector need: PASS, MARGINAL or FAIL.

    A FAIL is exit code 1, and no model is trained on it.
    """
    from training.coherence import Verdict

    report = _judged(data, Family.open(family, (artifacts or artifacts_folder()) / "families"))
    if as_json:
        print_json(report.as_dict())
    else:
        show_report(report)
    if report.verdict == Verdict.FAIL:
        raise typer.Exit(FOUND_WRONG)


def _judged(data: Path, family: Family) -> "Report":
    from rich.progress import MofNCompleteColumn, Progress

    from training import corpus, gate
    from training.coherence_check import check as judge_text
    from training.sequences import Sequences

    if data.is_dir() and corpus.parts(data):
        with err.status(f"reading {data}"):
            return gate.judge(data, Sequences.load(data, mapped=True))
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), console=err) as progress:
        task = progress.add_task("reading", total=None)
        return judge_text(
            data,
            family,
            tell=lambda what, done, total: progress.update(
                task, description=what, completed=done, total=total
            ),
        )


def show_report(report: "Report") -> None:
    """Prints a verdict with its reasons and everything they rest on."""
    from rich.table import Table

    out.print(f"{report.verdict}: {report.chunks:,} chunks of {report.documents:,} documents judged")
    for reason in report.reasons:
        out.print(reason, soft_wrap=True, markup=False)
    if profile := report.profile:
        cosines = Table("pairs", "mean cosine")
        cosines.add_row("neighbours", f"{profile.neighbours:.3f}")
        cosines.add_row("neighbours, order shuffled", f"{profile.shuffled:.3f}")
        cosines.add_row("same document, far apart", f"{profile.far:.3f}")
        cosines.add_row("other documents", f"{profile.other_documents:.3f}")
        for distance, cosine in enumerate(profile.by_distance, 1):
            cosines.add_row(f"{distance} apart", f"{cosine:.3f}")
        out.print(cosines)
    signs = Table("sign", "value", "prose", "judgement")
    for sign in report.signs:
        signs.add_row(sign.name, f"{sign.value:.3f}", sign.prose, str(sign.verdict))
    out.print(signs)
    if report.odd_documents:
        out.print(f"odd documents: {', '.join(report.odd_documents)}", markup=False)


def _show(work: Iterator[tuple[int, int]]) -> None:
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("windows", total=None)
        for done, total in work:
            progress.update(task, completed=done, total=total)
