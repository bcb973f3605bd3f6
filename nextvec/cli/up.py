"""`nextvec up`: the whole system on this machine, until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nextvec.cli.exits import FOUND_WRONG, say
from nextvec.cli.layout import GATEWAY, PORT_BASE, STAGE_PORT_BASE, Layout, artifacts_folder, processes
from nextvec.cli.output import AsJson, err, print_json
from nextvec.cli.system import ProcessSpec, System
from nextvec.errors import InvalidInput
from nextvec.routes import STAGES
from nextvec.settings import variable

_MARGIN_SECONDS = 5

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_black")


def up(
    port_base: Annotated[
        int, typer.Option(min=PORT_BASE, max=59_001, help="First of the gateway's six ports.")
    ] = PORT_BASE,
    stage_port_base: Annotated[
        int, typer.Option(min=1024, max=65_000, help="First of the stages' ports.")
    ] = STAGE_PORT_BASE,
    free_ports: Annotated[
        bool, typer.Option(help="Take ports that are free now, whatever the bases are; --json tells which.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    family: Annotated[str, typer.Option(help="Model family.")] = "mini",
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="Redis for the cache; without, each process has its own.")
    ] = None,
    replicas: Annotated[
        list[str] | None, typer.Option(help="Number of processes of a stage, such as decoder=3.")
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="Folder for a log file per process, instead of this terminal.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until all must be healthy.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Start encoder, LVM, snap, decoder and gateway, and run them until Ctrl-C or SIGTERM.

    Stopping drains the gateway first, then the stages: requests in flight are finished. A process that
    dies is reported and not restarted; when the gateway dies, everything stops. With --json, one line on
    stdout says where everything listens, once it does.
    """
    layout = Layout.at(
        None if free_ports else port_base,
        None if free_ports else stage_port_base,
        host=host,
        replicas=_counts(replicas or []),
    )
    environment = dict(os.environ)
    if sys.stderr.isatty():
        environment.setdefault(variable("log_format"), "human")
    specs = processes(
        layout,
        environment,
        family=family,
        artifacts=artifacts.resolve() if artifacts else artifacts_folder(),
        redis_url=redis_url,
    )
    if not asyncio.run(_run(layout, specs, log_dir, timeout, as_json)):
        raise typer.Exit(FOUND_WRONG)


async def _run(
    layout: Layout, specs: list[ProcessSpec], log_dir: Path | None, timeout: float, as_json: bool
) -> bool:
    """Runs the system to its end; whether every process lived until then."""
    from gateway.settings import GatewaySettings

    stop = asyncio.Event()
    settings = GatewaySettings.from_mapping(os.environ)
    system = System(
        specs,
        layout.host,
        log_folder=log_dir,
        tell=_prefixer([spec.name for spec in specs]),
        tls=settings,
        # Each process ends its requests in its own time before it is killed; the gateway's is the longest.
        grace_seconds=settings.drain_seconds + _MARGIN_SECONDS,
    )

    def on_signal() -> None:
        if stop.is_set():
            say("stopping at once; requests in flight are lost", "nextvec", "bold yellow")
            system.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    async with system:
        with err.status("starting the processes"):
            starting = asyncio.create_task(system.healthy(timeout, _report_ready))
            await _first(starting, stop)
        if stop.is_set():
            starting.cancel()
            return True
        starting.result()
        _report_up(layout, system, as_json)
        lived = await _watch(system, stop)
        err.print("[bold]stopping[/]: requests in flight are finished first")
    err.print("[bold]stopped[/]")
    return lived


async def _watch(system: System, stop: asyncio.Event) -> bool:
    lived = True
    while not stop.is_set() and system.processes:
        dying = asyncio.create_task(system.death())
        await _first(dying, stop)
        if not dying.done():
            dying.cancel()
            break
        dead = dying.result()
        lived = False
        say(dead.last_words)
        if dead.spec.name == GATEWAY:
            break
        say("the others go on without it; restart `nextvec up` to have it back", "nextvec", "bold yellow")
    return lived


async def _first(task: "asyncio.Task[object]", stop: asyncio.Event) -> None:
    """Waits until the task is done or the event is set."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def _report_ready(spec: ProcessSpec, seconds: float) -> None:
    ports = f"port {spec.ports[0]}" if len(spec.ports) == 1 else f"ports {spec.ports[0]} to {spec.ports[-1]}"
    err.print(f"[green]ready[/] {spec.name:<10} {ports}, after {seconds:.1f} s")


def _report_up(layout: Layout, system: System, as_json: bool) -> None:
    if as_json:
        pids = {process.spec.name: process.handle.pid for process in system.processes}
        print_json({**layout.as_dict(), "pids": pids}, indent=None)
        return
    routes = ", ".join(f"{port} {route}" for route, port in layout.routes.items())
    err.print(f"[bold green]up[/]: {routes}. Stop with Ctrl-C.")


def _prefixer(names: list[str]) -> Callable[[str, str], None]:
    width = max(map(len, names))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}

    def tell(name: str, line: str) -> None:
        err.print(f"[{colours[name]}]{name:<{width}} |[/] {escape(line)}", soft_wrap=True)

    return tell


def _counts(replicas: list[str]) -> dict[str, int]:
    known = [stage.name for stage in STAGES]
    counts = {}
    for entry in replicas:
        name, _, count = entry.partition("=")
        if name not in known or not count.isdigit() or not 1 <= int(count) <= 64:
            raise InvalidInput(
                f"--replicas is {entry!r}; must be STAGE=COUNT, the stage one of {', '.join(known)}, "
                "the count from 1 to 64"
            )
        counts[name] = int(count)
    return counts
