"""`nextvec train`: a family's tokenizer, inverter and corrector, and latent vector models.

Every training goes on where it was stopped when it is given the same `--run` folder again.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.family import Family

if TYPE_CHECKING:
    from training.loop import Progress, Schedule

app = typer.Typer(help="Train the parts of a family, and latent vector models.", no_args_is_help=True)

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
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]


@app.command()
def tokenizer(
    corpus: Corpus,
    family: FamilyName = "mini",
    vocabulary: Annotated[int, typer.Option(min=300, max=65_000, help="Number of tokens.")] = 12_288,
    artifacts: Artifacts = None,
) -> None:
    """Train the tokenizer of the texts that inverter and corrector write."""
    import pyarrow.parquet as pq

    from training import corpus as corpora
    from training.tokenizer import save_tokenizer, train_tokenizer

    target = _family(family, artifacts).part("inverter")
    texts = (
        text
        for part in corpora.parts(corpus)
        for text in pq.read_table(part, columns=["text"])["text"].to_pylist()
    )
    with err.status("training the tokenizer"):
        trained = train_tokenizer(texts, vocabulary)
    save_tokenizer(trained, target)
    out.print(f"{target / 'tokenizer.json'}: {trained.get_vocab_size():,} tokens")


@app.command()
def inverter(
    corpus: Corpus,
    run: Run,
    family: FamilyName = "mini",
    preset: Annotated[str, typer.Option(help="Preset, or the path of a .toml file.")] = "inverter-cpu",
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    threads: Threads = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train the inverter, which writes a first text from a vector, and put it into the family."""
    from training.card import inversion_card
    from training.export import export
    from training.inverter import InverterPreset, load_inverter, train_inverter
    from training.presets import read_preset

    source = _family(family, artifacts)
    setting = read_preset(InverterPreset, preset)
    setting = replace(setting, schedule=_budget(setting.schedule, minutes, steps))
    where = _device(device, threads)
    last = _watch(train_inverter(corpus, source, setting, run, where), "inverter")
    model = load_inverter(run, setting.shape, source)
    folder = export(model, source, inversion_card(corpus, setting, last))
    _report(folder, last, as_json)


@app.command()
def corrector(
    corpus: Corpus,
    run: Run,
    inverter_run: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Run folder of the inverter it corrects.")
    ],
    family: FamilyName = "mini",
    preset: Annotated[str, typer.Option(help="Preset, or the path of a .toml file.")] = "corrector-cpu",
    inverter_preset: Annotated[
        str, typer.Option(help="Preset that the inverter was trained with.")
    ] = "inverter-cpu",
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    threads: Threads = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train the corrector on the inverter's texts, and put it into the family."""
    from training.card import inversion_card
    from training.corrector import CorrectorPreset, load_corrector, train_corrector, write_hypotheses
    from training.export import export
    from training.inverter import InverterPreset, load_inverter
    from training.presets import read_preset

    source = _family(family, artifacts)
    setting = read_preset(CorrectorPreset, preset)
    setting = replace(setting, schedule=_budget(setting.schedule, minutes, steps))
    first = load_inverter(inverter_run, read_preset(InverterPreset, inverter_preset).shape, source)
    where = _device(device, threads)
    _count(write_hypotheses(corpus, first, source, setting, run, where), "hypotheses")
    last = _watch(train_corrector(corpus, first, source, setting, run, where), "corrector")
    folder = export(load_corrector(run, setting.shape, source), source, inversion_card(corpus, setting, last))
    _report(folder, last, as_json)


@app.command()
def lvm(
    route: Annotated[str, typer.Argument(help="Route whose architecture and settings are trained.")],
    corpus: Corpus,
    validation: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Encoded corpus of held-out documents.")
    ],
    run: Run,
    family: FamilyName = "mini",
    hardware: Annotated[
        str | None, typer.Option(help="cpu or accelerator: other batches than the original's recipe.")
    ] = None,
    minutes: Minutes = None,
    device: Device = "auto",
    threads: Threads = None,
    known_issue: Annotated[
        list[str] | None, typer.Option(help="Goes into the model card; repeatable.")
    ] = None,
    promote: Annotated[bool, typer.Option(help="Have the route answered by the new model.")] = False,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train a latent vector model and put it into the registry."""
    from nextvec.routes import route_named
    from services.lvm import registry
    from training.lvm import LvmPreset, export_lvm, train_lvm
    from training.sequences import Sequences

    root = artifacts or artifacts_folder()
    source = _family(family, root)
    setting = LvmPreset.read(route, hardware, **({"minutes": minutes} if minutes else {}))
    sequences, held_out = Sequences.load(corpus), Sequences.load(validation)
    last = _watch(train_lvm(sequences, setting, run, _device(device, threads)), route)
    folder = export_lvm(
        sequences,
        held_out,
        setting,
        run,
        space=source.space,
        models=root / "lvm" / "models",
        stem=route_named(route).link.removesuffix("_v0"),
        known_issues=tuple(known_issue or ()),
    )
    if promote:
        registry.promote(folder, route)
    _report(folder, last, as_json)


def _family(name: str, artifacts: Path | None) -> Family:
    return Family.open(name, (artifacts or artifacts_folder()) / "families")


def _budget(schedule: "Schedule", minutes: float | None, steps: int | None) -> "Schedule":
    if steps is not None:
        return replace(schedule, steps=steps, minutes=minutes)
    return replace(schedule, minutes=minutes) if minutes is not None else schedule


def _device(name: str, threads: int | None) -> Any:
    import torch

    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _watch(training: Iterator["Progress"], what: str) -> "Progress | None":
    """Shows a training's progress to its end and returns the last one; None where nothing was left to do."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    last = None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.1f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=err) as display:
        task = display.add_task(what, total=1.0)
        for last in training:
            display.update(
                task,
                completed=last.share,
                description=f"{what} step {last.step:,} loss {last.loss:.3f} {last.tokens_per_s:,.0f}/s",
            )
    return last


def _count(work: Iterator[tuple[int, int]], what: str) -> None:
    from rich.progress import Progress

    with Progress(console=err) as display:
        task = display.add_task(what, total=None)
        for done, total in work:
            display.update(task, completed=done, total=total)


def _report(folder: Path, last: "Progress | None", as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(folder), "step": last and last.step, "loss": last and last.loss})
        return
    ended = f"after step {last.step:,} at loss {last.loss:.3f}" if last else "was trained to its end before"
    out.print(f"{folder}: {ended}")
