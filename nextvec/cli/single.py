"""One stage at a time: started for one command, or running somewhere, and asked many things at once."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from nextvec.channel import open_channel
from nextvec.cli.layout import stage_process
from nextvec.cli.output import err
from nextvec.cli.system import System
from nextvec.errors import QueueFull
from nextvec.ports import free_block
from nextvec.settings import TlsSettings, variable
from nextvec.stream import ask

_START_SECONDS = 120


@asynccontextmanager
async def reach(stage: str, address: str | None, family: str, artifacts: Path) -> AsyncIterator[Any]:
    """A channel to the stage at `address`; without one, to a stage that runs as long as the context.

    So a command does offline exactly what a server does.
    """
    tls = TlsSettings.from_mapping(os.environ)
    if address:
        async with open_channel(address, tls) as channel:
            yield channel
        return
    host = "127.0.0.1"
    own = {"host": host, "family": family, "artifacts": str(artifacts)}
    environment = os.environ | {variable(name): value for name, value in own.items()}
    environment.pop(variable("metrics_port"), None)
    spec = stage_process(stage, free_block(1, host), environment)
    async with System([spec], host, tls=tls) as system:
        with err.status(f"starting the {stage} stage"):
            await system.healthy(_START_SECONDS, lambda spec, seconds: None)
        async with open_channel(f"{host}:{spec.ports[0]}", tls) as channel:
            yield channel


async def ask_all(
    method: Callable[..., Any], requests: Sequence[Any], *, stage: str, at_once: int, doing: str
) -> list[Any]:
    """The results of all requests, in their order, at most `at_once` in flight.

    A full queue is waited for: nobody is in a hurry for a file. Raises the first error.
    """
    slots = asyncio.Semaphore(at_once)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(doing, total=len(requests))

        async def one(index: int, request: Any) -> Any:
            request.request_id = str(index)
            async with slots:
                while True:
                    try:
                        response = await ask(method, request, stage=f"the {stage} stage")
                    except QueueFull as full:
                        await asyncio.sleep(max(full.retry_delay_ms, 10) / 1000)
                        continue
                    progress.advance(task)
                    return response.result

        tasks = [asyncio.create_task(one(index, request)) for index, request in enumerate(requests)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for pending in tasks:
                pending.cancel()
