"""`nextvec train lvm`: a latent vector model from encoded documents or sequences."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err
from nextvec.cli.training_run import (
    Artifacts,
    Device,
    FamilyName,
    KnownIssue,
    Minutes,
    Run,
    Threads,
    device_of,
    family_named,
    report,
    watch,
)
from nextvec.errors import InvalidInput
from nextvec.family import Family

if TYPE_CHECKING:
    from training.coherence import Report
    from training.sequences import Sequences


def lvm(
    route: Annotated[str, typer.Argument(help="Route whose architecture and settings are trained.")],
    corpus: Annotated[
        Path, typer.Option(exists=True, help="Encoded corpus, or .npz from `nextvec sequences build`.")
    ],
    run: Run,
    validation: Annotated[
        Path | None,
        typer.Option(exists=True, help="The same of held-out documents; without, 5% of the corpus'."),
    ] = None,
    family: FamilyName = "mini",
    hardware: Annotated[
        str | None, typer.Option(help="cpu or accelerator: other batches than the original's recipe.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(min=0.001, help="Length; the preset's otherwise.")] = None,
    minutes: Minutes = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; the preset's otherwise.")] = None,
    mse: Annotated[
        float | None, typer.Option(help="Factor of the squared error, averaged over dimensions.")
    ] = None,
    infonce: Annotated[
        float | None, typer.Option(help="Factor of InfoNCE; with --balance, its share of the gradient.")
    ] = None,
    balance: Annotated[
        bool, typer.Option(help="Hold InfoNCE's gradient at a share of the squared error's.")
    ] = False,
    allow_non_sequential: Annotated[
        bool, typer.Option(help="Train on data that fails `nextvec sequences check`; the card says so.")
    ] = False,
    save_every: Annotated[
        float | None, typer.Option(min=0, help="Seconds between checkpoints; 120 otherwise.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    known_issue: KnownIssue = None,
    promote: Annotated[bool, typer.Option(help="Have the route answered by the new model.")] = False,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train a latent vector model and put it into the registry."""
    from nextvec.routes import route_named
    from services.lvm import registry
    from training import gate, processes
    from training.coherence import Verdict
    from training.lvm import LvmPreset, export_lvm, train_lvm

    root = artifacts or artifacts_folder()
    source = family_named(family, root)
    changes = {
        "epochs": epochs,
        "minutes": minutes,
        "seed": seed,
        "mse": mse,
        "infonce": infonce,
        "balance": balance or None,
        "save_every_s": save_every,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    setting = LvmPreset.read(route, hardware, **given)
    where = device_of(device, threads)
    with err.status("reading the sequences"):
        sequences, held_out, verdict = _sequences(corpus, validation, source)
    gate.require_provenance(sequences, known_issue or ())
    gate.require(verdict, allow_non_sequential)
    if verdict.verdict == Verdict.MARGINAL:
        err.print(f"[dim]the data may not be sequential text: {'; '.join(verdict.reasons)}[/]")
    last = watch(train_lvm(sequences, setting, run, where), route)
    folder = None
    if processes.rank() == 0:
        folder = export_lvm(
            sequences,
            held_out,
            setting,
            run,
            space=source.space,
            models=root / "lvm" / "models",
            stem=route_named(route).link.removesuffix("_v0"),
            check=verdict,
            known_issues=tuple(known_issue or ()),
        )
        if promote:
            registry.promote(folder, route)
    processes.leave()
    if folder:
        report(folder, last, as_json)


def _sequences(
    corpus: Path, validation: Path | None, family: Family
) -> "tuple[Sequences, Sequences, Report]":
    """Windows to train on, windows to validate on, and the verdict on the former."""
    from training import gate
    from training.sequences import Sequences

    whole = Sequences.load(corpus)
    given = Sequences.load(validation) if validation else None
    for place, found in ((corpus, whole), (validation, given)):
        if found is None:
            continue
        found.require(family)
        if not found.space and place and place.suffix == ".npz":
            raise InvalidInput(
                f"{place} has no card that names its space and sources; `nextvec sequences build --corpus "
                f"{place} --source NAME --licence LICENCE --out NEW.npz` makes one"
            )
        if not found.space:
            err.print(f"[dim]{place} does not name its space; it is taken to be {family.space}[/]")
    if given and (shared := given.shared(whole)):
        raise InvalidInput(
            f"{shared:,} of {len(given):,} windows of {validation} are in the training data {corpus}; "
            "validate on other documents (`nextvec sequences build` takes some with --split train, others "
            "with --split validation), or leave --validation out"
        )
    verdict = gate.judge(corpus, whole)
    return (whole, given, verdict) if given else (*whole.held_out(), verdict)
