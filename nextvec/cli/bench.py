"""`nextvec bench`: how fast everything is, next to what it is compared with, in one run."""

import importlib
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nextvec.cli.bench_systems import systems
from nextvec.cli.exits import FOUND_WRONG
from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json

if TYPE_CHECKING:
    from benchmarks.harness import Options
    from benchmarks.results import Result

app = typer.Typer(help="Measure speed on this machine, side by side.", no_args_is_help=True)

_OF_SYSTEMS = ("gateway", "scale")
"""Benches that measure a running system."""


class Size(StrEnum):
    """Sizes of decoders."""

    MINI = "mini"
    T5_BASE = "t5-base"
    ALL = "all"


Quick = Annotated[bool, typer.Option("--quick", help="A few rounds, to see that it runs.")]
SizeOption = Annotated[
    Size,
    typer.Option(
        help="Size of the decoder; t5-base draws its weights and needs 12 GiB free and some minutes."
    ),
]
Vectors = Annotated[int, typer.Option(min=100, help="Vectors in the bank; the bars are for 339,615.")]
FamilyName = Annotated[str, typer.Option("--family", help="Model family.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]
Out = Annotated[
    Path | None, typer.Option("--out", file_okay=False, help="Folder for the page performance.md.")
]


@app.command()
def decode(
    size: SizeOption = Size.ALL,
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """The decoder's engines against the vec2text library, on the same weights."""
    _run(["decode"], _options(family, artifacts, quick, size), out_folder, as_json)


@app.command()
def encode(
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """Chunks a second, against transformers."""
    _run(["encode"], _options(family, artifacts, quick), out_folder, as_json)


@app.command()
def lvm(quick: Quick = False, out_folder: Out = None, as_json: AsJson = False) -> None:
    """Milliseconds per query of each route's network at its production size."""
    _run(["lvm"], _options("mini", None, quick), out_folder, as_json)


@app.command()
def snap(
    vectors: Vectors = 339_615, quick: Quick = False, out_folder: Out = None, as_json: AsJson = False
) -> None:
    """Milliseconds of a projection over a large random bank, and its recall."""
    _run(["snap"], _options("mini", None, quick, vectors=vectors), out_folder, as_json)


@app.command()
def cache(
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time of a hit in the decoder's process, and in a Redis that is started for it."""
    _run(["cache"], _options(family, artifacts, quick), out_folder, as_json)


@app.command()
def gateway(
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """Whole requests through a system that is started for it: first, repeated, and the gateway's own time."""
    _run(["gateway"], _options(family, artifacts, quick), out_folder, as_json)


@app.command()
def scale(
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a gateway that runs; without, a system is started.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Clients at once, with --address.")] = 4,
    seconds: Annotated[float, typer.Option(min=1, help="How long they ask, with --address.")] = 30,
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """Answers a second with one decoder and with two, and where the time goes as the load grows.

    With --address it loads a system that runs already, while processes are killed, scaled or restarted, and
    counts what that loses. Exits with 1 where a request failed or was answered with less than asked.
    """
    options = _options(family, artifacts, quick)
    if address is None:
        _run(["scale"], options, out_folder, as_json)
        return
    from benchmarks import machine
    from benchmarks.scale import against

    about = machine.description()
    _report(against(address, clients, seconds, options), about, ["scale"], out_folder, as_json)


@app.command("all")
def everything(
    size: SizeOption = Size.ALL,
    vectors: Vectors = 339_615,
    quick: Quick = False,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    out_folder: Out = None,
    as_json: AsJson = False,
) -> None:
    """All of them, one after the other, in one run."""
    from benchmarks.bars import BENCHES

    _run(BENCHES, _options(family, artifacts, quick, size, vectors), out_folder, as_json)


def _options(
    family: str, artifacts: Path | None, quick: bool, size: Size = Size.ALL, vectors: int = 339_615
) -> "Options":
    from benchmarks.harness import Options

    return Options(
        artifacts=artifacts or artifacts_folder(),
        family=family,
        quick=quick,
        sizes=(Size.MINI, Size.T5_BASE) if size is Size.ALL else (size,),
        vectors=vectors,
        say=lambda message: err.print(escape(message), soft_wrap=True),
    )


def _run(names: Sequence[str], options: "Options", out_folder: Path | None, as_json: bool) -> None:
    """Measures, shows, and exits with 1 when a bar is missed, or is owed a figure that could not be had."""
    from benchmarks import machine
    from benchmarks.bars import due
    from benchmarks.results import missed, unmeasured

    about = machine.description()
    results: list[Result] = []
    for name in names:
        started = time.monotonic()
        results += _measure(name, options)
        options.say(f"{name}: took {time.monotonic() - started:.0f} s")
    results += map(missed, unmeasured(due(names, options), results))
    _report(results, about, names, out_folder, as_json)


def _measure(name: str, options: "Options") -> "list[Result]":
    module = importlib.import_module(f"benchmarks.{name}")
    given = (options, systems(options)) if name in _OF_SYSTEMS else (options,)
    found: list[Result] = module.run(*given)
    return found


def _report(
    results: "list[Result]",
    about: dict[str, str],
    names: Sequence[str],
    out_folder: Path | None,
    as_json: bool,
) -> None:
    """Shows figures, and writes the page where one is asked for; `names` are the benches that ran."""
    from benchmarks.page import write

    if out_folder:
        write(out_folder, results, about, names)
    if as_json:
        print_json([result.as_dict() for result in results])
    else:
        _show(results, about)
    for result in results:
        if not result.measured:
            err.print(f"[red]not measured[/] {escape(result.bench)}: {escape(result.what)}", soft_wrap=True)
    if any(result.passed is False for result in results):
        raise typer.Exit(FOUND_WRONG)


def _show(results: "list[Result]", about: dict[str, str]) -> None:
    from rich.table import Table

    from benchmarks.results import shown

    out.print(", ".join(f"{name} {value}" for name, value in about.items()), style="dim", soft_wrap=True)
    table = Table("what", "value", "quartiles", "bar", "")
    colours = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "": ""}
    for result in results:
        *cells, verdict = shown(result)
        table.add_row(escape(f"{result.bench}: {result.what}"), *cells, colours[verdict])
    out.print(table)
