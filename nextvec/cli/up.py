"""`nextvec up`: the whole system on this machine, until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from nextvec.cli.control import controlled, folder
from nextvec.cli.deployment import Deployment
from nextvec.cli.exits import FOUND_WRONG, say
from nextvec.cli.layout import PORT_BASE, STAGE_PORT_BASE, Layout, artifacts_folder, processes
from nextvec.cli.output import AsJson, err, print_json
from nextvec.cli.scale import counts
from nextvec.cli.system import ProcessSpec, System
from nextvec.routes import ROUTES
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

    Stopping drains the gateway first, then the stages: requests in flight are finished. A stage's process
    that dies is started again, after a pause that grows; when the gateway dies, everything stops. The
    number of processes is changed by `nextvec scale`. With --json, one line on stdout says where everything
    listens, once it does.
    """
    layout = Layout.at(
        None if free_ports else port_base,
        None if free_ports else stage_port_base,
        host=host,
        replicas=counts(replicas or []),
    )
    environment = dict(os.environ)
    if sys.stderr.isatty():
        environment.setdefault(variable("log_format"), "human")
    with folder(layout.routes[ROUTES[0].name]) as own:
        specs = processes(
            layout,
            environment,
            family=family,
            artifacts=artifacts.resolve() if artifacts else artifacts_folder(),
            redis_url=redis_url,
            lists=own,
        )
        lived = asyncio.run(_run(layout, specs, own, log_dir, timeout, as_json))
    if not lived:
        raise typer.Exit(FOUND_WRONG)


async def _run(
    layout: Layout, specs: list[ProcessSpec], own: Path, log_dir: Path | None, timeout: float, as_json: bool
) -> bool:
    """Runs the system to its end; whether every process ran then."""
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
    async with Deployment(system, own, layout.host, tell=_say) as deployment:
        with err.status("starting the processes"):
            starting = asyncio.create_task(deployment.healthy(timeout, _report_ready))
            await _first(starting, stop)
        if stop.is_set():
            starting.cancel()
            return True
        starting.result()
        async with controlled(deployment, own):
            _report_up(layout, system, as_json)
            await _first(deployment.front_died, stop)
        if deployment.front_died.done():
            say(deployment.front_died.result().last_words)
        lived = deployment.complete
        err.print("[bold]stopping[/]: requests in flight are finished first")
    err.print("[bold]stopped[/]")
    return lived


async def _first(happening: "asyncio.Future[Any]", stop: asyncio.Event) -> None:
    """Waits until something is done or the event is set."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([happening, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def _say(news: str) -> None:
    say(news, "nextvec", "bold yellow")


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
    colours: dict[str, str] = {}

    def tell(name: str, line: str) -> None:
        colour = colours.setdefault(name, _COLOURS[len(colours) % len(_COLOURS)])
        err.print(f"[{colour}]{name:<{width}} |[/] {escape(line)}", soft_wrap=True)

    return tell
