"""`nextvec demo`: starts everything, sends a real paragraph through every port, twice, and stops."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from nextvec.cli.exits import FOUND_WRONG, say
from nextvec.cli.layout import Layout, artifacts_folder, processes
from nextvec.cli.output import AsJson, as_dict, err, out, print_json
from nextvec.cli.system import System
from nextvec.client import AsyncClient
from nextvec.errors import NextvecError
from nextvec.routes import ROUTES, STAGES, Route
from nextvec.settings import PREFIX, variable
from nextvec.v1.gateway_pb2 import CompleteResponse

PARAGRAPH = (
    "The storm had closed the harbour for three days, and nobody in the village had slept well. "
    "On the fourth morning the wind dropped and the fishermen walked down to look at their boats. "
    "Two of them had broken loose in the night and lay on their sides among the rocks. "
    "The men fetched ropes and long poles and waited for the tide to lift the hulls. "
    "By noon the water had come up far enough to float the first boat free."
)
"""Five sentences, as many as an LVM reads; written for this demonstration."""

_PATIENCE_SECONDS = 60
"""The demonstration shows how long things take on this machine; it does not cut them off."""

_BUDGETS = ("budget_seconds", "encode_seconds", "lvm_seconds", "snap_seconds", "decode_seconds")


@dataclass(frozen=True)
class Answer:
    """What one route gave: a response, or why there is none."""

    route: Route
    port: int
    response: CompleteResponse | None
    problem: str = ""

    @property
    def cache_hit(self) -> bool:
        """Whether the text came from the decoder's cache."""
        return self.response is not None and all(chunk.cache_hit for chunk in self.response.chunks)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        shown = as_dict(self.response) if self.response else None
        return {"port": self.port, "route": self.route.name, "response": shown, "problem": self.problem}


def demo(
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Text to send instead of the built-in one."),
    ] = None,
    family: Annotated[str, typer.Option(help="Model family.")] = "mini",
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="Redis for the cache; without, the decoder's own.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until all must be healthy.")] = 180,
    as_json: AsJson = False,
) -> None:
    """Start the whole system on free ports, send a paragraph through each of the six ports, twice, and stop.

    The second pass shows the cache. Exits with 1 when a route fails or the second pass does not come from
    the cache.
    """
    text = file.read_text(encoding="utf-8") if file else PARAGRAPH
    layout = Layout.at(None, None)
    specs = processes(
        layout,
        patient_environment(),
        family=family,
        artifacts=artifacts or artifacts_folder(),
        redis_url=redis_url,
    )
    with tempfile.TemporaryDirectory(prefix="nextvec-demo-") as logs:
        system = System(specs, layout.host, log_folder=Path(logs))
        passes = asyncio.run(_run(system, layout, text, timeout, quiet=as_json))
    failed = [answer for answers in passes for answer in answers if answer.response is None]
    missed = [answer.route.name for answer in passes[1] if answer.response and not answer.cache_hit]
    if as_json:
        print_json({"text": text, "passes": [[answer.as_dict() for answer in answers] for answers in passes]})
    else:
        out.print(_summary(passes))
    for answer in failed:
        say(f"{answer.route.name} on port {answer.port}: {answer.problem}")
    if missed:
        say(f"the second pass did not come from the cache: {', '.join(missed)}")
    if failed or missed:
        raise typer.Exit(FOUND_WRONG)


def patient_environment() -> dict[str, str]:
    """Environment of a system that cuts nothing off.

    Settings made for another system, such as its Redis, do not reach this one.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    return environment | {variable(name): str(_PATIENCE_SECONDS) for name in _BUDGETS}


async def _run(
    system: System, layout: Layout, text: str, timeout: float, *, quiet: bool
) -> list[list[Answer]]:
    async with system:
        with err.status("starting encoder, LVM, snap, decoder and gateway"):
            await system.healthy(
                timeout, lambda spec, s: err.print(f"[green]ready[/] {spec.name}, {s:.1f} s")
            )
        if not quiet:
            out.print(Panel(escape(text), title="the text so far", title_align="left"))
        passes = []
        for title in ("First pass", "Second pass, the same text again"):
            with err.status(f"{title.lower()}: six ports, one after the other"):
                answers = [await _ask(route, layout, text) for route in ROUTES]
            passes.append(answers)
            if not quiet:
                out.print(_table(title, answers))
        err.print("[dim]stopping[/]")
    return passes


async def _ask(route: Route, layout: Layout, text: str) -> Answer:
    port = layout.routes[route.name]
    async with AsyncClient(layout.address(route.name)) as client:
        try:
            return Answer(route, port, (await client.complete(text)).response)
        except NextvecError as error:
            return Answer(route, port, None, error.message)


def _table(title: str, answers: Sequence[Answer]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("port", no_wrap=True)
    table.add_column("route", max_width=12, overflow="fold")
    table.add_column("next text", ratio=1)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("cache", no_wrap=True)
    table.add_column("ms per stage", no_wrap=True)
    for answer in answers:
        table.add_row(*_row(answer))
    return table


def _row(answer: Answer) -> list[str]:
    # The system is on free ports; what a user will meet is the route's own.
    start = [str(answer.route.port), answer.route.name]
    if answer.response is None:
        return [*start, f"[red]{escape(answer.problem)}[/]"]
    chunk = answer.response.chunks[0]
    quoted = " [dim](quoted)[/]" if chunk.extractive else ""
    cache = "[green]hit[/]" if chunk.cache_hit else "miss"
    return [*start, escape(chunk.text) + quoted, str(chunk.steps), cache, _times(answer.response)]


def _times(response: CompleteResponse) -> str:
    lines = []
    for stage in STAGES:
        times = [timing.total_ms for timing in response.timings if timing.stage == stage.name]
        lines.append(f"{stage.name:<7} " + (f"{sum(times):7.1f}" if times else "      -"))
    return "\n".join([*lines, f"[bold]total   {response.total_ms:7.1f}[/]"])


def _summary(passes: Sequence[Sequence[Answer]]) -> Group:
    lines = []
    for name, answers in zip(("first pass", "second pass"), passes, strict=True):
        times = [answer.response.total_ms for answer in answers if answer.response]
        hits = sum(answer.cache_hit for answer in answers)
        median = f"median {statistics.median(times):.0f} ms" if times else "no time"
        lines.append(
            f"[bold]{name}[/]: {len(times)} of {len(answers)} ports answered, {hits} from the cache, {median}"
        )
    return Group(*lines)
