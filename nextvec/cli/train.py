"""`nextvec train`: a family's tokenizer, inverter and corrector, and latent vector models.

Every training goes on where it was stopped when it is given the same `--run` folder again. Started by
torchrun (`torchrun --nproc-per-node 4 -m nextvec.cli -- train ...`), the processes share every batch.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nextvec.cli.output import AsJson, err, out
from nextvec.cli.train_lvm import lvm
from nextvec.cli.training_run import (
    Artifacts,
    Corpus,
    Device,
    FamilyName,
    KnownIssue,
    Minutes,
    Run,
    Steps,
    Threads,
    budget,
    count_up,
    device_of,
    family_named,
    report,
    watch,
)
from nextvec.errors import FailedPrecondition

app = typer.Typer(help="Train the parts of a family, and latent vector models.", no_args_is_help=True)


@app.command()
def tokenizer(
    corpus: Corpus,
    family: FamilyName = "mini",
    vocabulary: Annotated[int, typer.Option(min=300, max=65_000, help="Number of tokens.")] = 12_288,
    replace_trained: Annotated[
        bool,
        typer.Option("--replace", help="Also where inverter and corrector then have to be trained anew."),
    ] = False,
    artifacts: Artifacts = None,
) -> None:
    """Train the tokenizer of the texts that inverter and corrector write."""
    import pyarrow.parquet as pq

    from training import corpus as corpora
    from training.export import WEIGHTS
    from training.tokenizer import save_tokenizer, train_tokenizer

    target = family_named(family, artifacts).part("inverter")
    if (target / WEIGHTS).exists() and not replace_trained:
        raise FailedPrecondition(
            f"{target} holds an inverter, which its family cannot use with another tokenizer; train it "
            "further with --start-from, or give --replace and train inverter and corrector anew"
        )
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
    start_from: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Inverter to go on from, such as the family's own."),
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    threads: Threads = None,
    known_issue: KnownIssue = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train the inverter, which writes a first text from a vector, and put it into the family."""
    from training import processes
    from training.card import inversion_card
    from training.export import export
    from training.inverter import InverterPreset, load_inverter, train_inverter
    from training.presets import read_preset

    source = family_named(family, artifacts)
    setting = read_preset(InverterPreset, preset)
    setting = replace(setting, schedule=budget(setting.schedule, minutes, steps))
    where = device_of(device, threads)
    last = watch(train_inverter(corpus, source, setting, run, where, start_from), "inverter")
    if processes.rank() == 0:
        model = load_inverter(run, setting.shape, source)
        folder = export(model, source, inversion_card(corpus, setting, run, known_issue or ()))
        report(folder, last, as_json)
    processes.leave()


@app.command()
def corrector(
    corpus: Corpus,
    run: Run,
    family: FamilyName = "mini",
    preset: Annotated[str, typer.Option(help="Preset, or the path of a .toml file.")] = "corrector-cpu",
    start_from: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Corrector to go on from, such as the family's own."),
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    threads: Threads = None,
    known_issue: KnownIssue = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Train the corrector on the texts of the family's inverter, and put it into the family."""
    from training import processes
    from training.card import inversion_card
    from training.corrector import CorrectorPreset, load_corrector, train_corrector, write_hypotheses
    from training.export import export
    from training.presets import read_preset

    source = family_named(family, artifacts)
    setting = read_preset(CorrectorPreset, preset)
    setting = replace(setting, schedule=budget(setting.schedule, minutes, steps))
    where = device_of(device, threads)
    count_up(write_hypotheses(corpus, source, setting, run, where), "hypotheses")
    processes.wait()
    last = watch(train_corrector(corpus, source, setting, run, where, start_from), "corrector")
    if processes.rank() == 0:
        model = load_corrector(run, setting.shape, source)
        folder = export(model, source, inversion_card(corpus, setting, run, known_issue or ()))
        report(folder, last, as_json)
    processes.leave()


app.command()(lvm)
