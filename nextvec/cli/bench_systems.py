"""Systems that `nextvec bench` starts for itself, as `nextvec demo` does, and stops again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nextvec.cli.demo import patient_environment
from nextvec.cli.deployment import SETTLE_SECONDS, Deployment
from nextvec.cli.layout import Layout, processes
from nextvec.cli.system import System
from nextvec.settings import variable

if TYPE_CHECKING:
    from benchmarks.harness import Options
    from benchmarks.systems import Scalable, Systems

_START_SECONDS = 180
_DECODER = "decoder"


def systems(options: "Options") -> "Systems":
    """How to start what is measured as a whole."""
    from benchmarks.systems import Systems

    @asynccontextmanager
    async def whole() -> AsyncIterator[dict[str, str]]:
        layout = Layout.at(None, None)
        async with _running(layout, options) as _:
            yield _addresses(layout)

    async def decoder() -> float:
        async with _running(Layout.at(None, None), options, only=_DECODER) as ready:
            return ready[_DECODER]

    return Systems(whole, decoder, lambda: _scalable(options))


@asynccontextmanager
async def _running(
    layout: Layout, options: "Options", only: str | None = None
) -> AsyncIterator[dict[str, float]]:
    """A system, or one process of it; gives the seconds after which each process was ready."""
    specs = processes(layout, patient_environment(), family=options.family, artifacts=options.artifacts)
    ready: dict[str, float] = {}
    with TemporaryDirectory(prefix="nextvec-bench-") as logs:
        chosen = [spec for spec in specs if only in (None, spec.name)]
        async with System(chosen, layout.host, log_folder=Path(logs)) as system:
            await system.healthy(_START_SECONDS, lambda spec, seconds: ready.update({spec.name: seconds}))
            yield ready


@asynccontextmanager
async def _scalable(options: "Options") -> "AsyncIterator[Scalable]":
    """A system of processes that compute with one thread each."""
    from benchmarks.systems import Scalable

    layout = Layout.at(None, None)
    environment = {**patient_environment(), variable("threads"): "1", "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory(prefix="nextvec-bench-") as folder:
        lists, logs = Path(folder) / "lists", Path(folder) / "logs"
        specs = processes(
            layout, environment, family=options.family, artifacts=options.artifacts, lists=lists
        )
        system = System(specs, layout.host, log_folder=logs)

        async with Deployment(system, lists, layout.host, tell=options.say) as deployment:

            async def decoders(count: int) -> None:
                if count != len(deployment.replicas[_DECODER]):
                    await deployment.scale(_DECODER, count)
                    await asyncio.sleep(SETTLE_SECONDS)

            await deployment.healthy(_START_SECONDS, lambda spec, seconds: None)
            yield Scalable(_addresses(layout), decoders)


def _addresses(layout: Layout) -> dict[str, str]:
    return {route: layout.address(route) for route in layout.routes}
