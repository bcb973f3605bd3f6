"""`nextvec capacity`: replicas for a load and a service level, and what p95 they come to."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nextvec.cli.output import AsJson, err, out, print_json

if TYPE_CHECKING:
    from nextvec.capacity.plan import Plan
    from nextvec.capacity.service_times import ServiceTimes

_START_SECONDS = 180
_ROUTE = "amn"
_TEXTS = 50


def capacity(
    rps: Annotated[float, typer.Option("--rps", help="Requests a second, of one chunk each.")] = 10,
    p95: Annotated[float, typer.Option("--p95", help="Seconds within which 95 of 100 are answered.")] = 1.3,
    hit_rate: Annotated[
        float, typer.Option("--hit-rate", help="Share of requests that were answered before, 0 to 1.")
    ] = 0.0,
    utilisation: Annotated[
        float, typer.Option(help="Share of its time that a replica may be busy, at most.")
    ] = 0.8,
    spare: Annotated[
        int, typer.Option(help="Replicas of each process that may be lost with the level still met.")
    ] = 1,
    service_times: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Measured service times; without, the default table.")
    ] = None,
    measure: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Measure here first, with a system of its own, and keep it in a file."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Work out how many replicas of each process meet a service level, and check it by simulation."""
    from nextvec.capacity.plan import Level, plan
    from nextvec.capacity.service_times import MEASURED, ServiceTimes

    level = Level(rate=rps, p95=p95, hit_rate=hit_rate, utilisation=utilisation, spare=spare)
    if measure:
        times = asyncio.run(_measured())
        times.write(measure)
    else:
        times = ServiceTimes.read(service_times or MEASURED)
    with err.status("simulating systems of several sizes"):
        found = plan(times, level)
    if as_json:
        print_json({**asdict(found), "measured": dict(times.about)})
    else:
        _show(found, times)


async def _measured() -> "ServiceTimes":
    """Of a whole system with one thread for each computation."""
    from benchmarks.service_times import measure
    from benchmarks.texts import sentences
    from nextvec.cli.demo import patient_environment
    from nextvec.cli.layout import Layout, artifacts_folder, processes
    from nextvec.cli.system import System
    from nextvec.family import Family
    from nextvec.settings import variable

    artifacts = artifacts_folder()
    family = Family.open("mini", artifacts / "families")
    layout = Layout.at(None, None)
    environment = {**patient_environment(), variable("threads"): "1", "OMP_NUM_THREADS": "1"}
    specs = processes(layout, environment, family=family.name, artifacts=artifacts)
    with TemporaryDirectory(prefix="nextvec-capacity-") as logs:
        async with System(specs, layout.host, log_folder=Path(logs)) as system:
            with err.status("starting a system"):
                await system.healthy(_START_SECONDS, lambda spec, seconds: None)
            chunks = sentences(artifacts, family, 5 * _TEXTS)
            texts = [" ".join(chunks[place : place + 5]) for place in range(0, len(chunks) - 4, 5)]
            with err.status(f"measuring {len(texts)} requests, each twice"):
                how = (
                    f"processor time of requests of five chunks on route {_ROUTE}, one at a time, every "
                    "stage on one thread"
                )
                pids = {process.spec.name: process.handle.pid for process in system.processes}
                return await measure(layout.address(_ROUTE), pids, texts, how)


def _show(found: "Plan", times: "ServiceTimes") -> None:
    level = found.level
    table = Table(
        "process",
        "replicas",
        "utilisation",
        "service, mean",
        "wait, mean",
        "p95",
        "of the level",
        min_width=80,
    )
    for share in found.shares:
        table.add_row(
            share.process,
            str(share.replicas),
            f"{share.utilisation:.0%}",
            *(f"{1000 * seconds:.1f} ms" for seconds in (share.service, share.wait, share.p95, share.budget)),
        )
    out.print(table)
    spares = f"with {level.spare} of each lost" if level.spare else "with none to spare"
    out.print(
        f"p95 {spares}: {found.modelled:.3f} s by the model, {found.simulated:.3f} s simulated; with all "
        f"replicas {found.simulated_whole:.3f} s simulated; wanted {level.p95:g} s",
        soft_wrap=True,
    )
    about = ", ".join(f"{name} {value}" for name, value in times.about.items())
    out.print(f"[dim]service times: {escape(about)}[/]", soft_wrap=True)
