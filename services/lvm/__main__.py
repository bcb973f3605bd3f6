"""The LVM server: `python -m services.lvm`, set by NEXTVEC_ variables."""

import asyncio
import os
import sys
from collections.abc import Callable

import torch
from prometheus_client import CollectorRegistry
from pydantic import Field

from nextvec.batching import BatchQueue
from nextvec.errors import StartupError
from nextvec.family import Family, FamilyError
from nextvec.logs import configure_logs
from nextvec.metrics import Metrics, Model
from nextvec.routes import stage_named
from nextvec.server import Server, Service, keep_what_is_loaded, run, serve
from nextvec.settings import StageSettings
from nextvec.tracing import start_tracing
from nextvec.v1.lvm_pb2_grpc import add_LvmServiceServicer_to_server
from services.lvm.engine import Contexts, LvmEngine, Prediction
from services.lvm.service import LvmService

STAGE = stage_named("lvm")


class LvmSettings(StageSettings):
    """Settings of the LVM stage."""

    device: str = Field("cpu", min_length=1, description="where models run, such as cpu or cuda:0")
    threads: int | None = Field(None, ge=1, description="threads of one computation; unset for torch's own")


async def serve_lvm(
    settings: LvmSettings,
    space: str,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serves the production models for vectors of `space` until stopped; calls `ready` with the port.

    The models are loaded before the port is opened, so that whoever finds the server healthy is answered in
    time. A route whose model cannot be loaded is logged and left out; the others are served.
    """
    metrics = Metrics(CollectorRegistry())
    engine = LvmEngine(settings.artifacts / "lvm" / "models", space, settings.device)
    await asyncio.to_thread(engine.preload)
    queue: BatchQueue[Contexts, Prediction] = BatchQueue(
        engine.predict,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        queue_limit=settings.queue_limit,
        key=lambda contexts: contexts.route,
        name=STAGE.name,
        metrics=metrics.queue(STAGE.name),
    )
    metrics.models(STAGE.name, lambda: [Model(card.id, card.space, route) for route, card in engine.running])
    service = Service(STAGE.service, add_LvmServiceServicer_to_server, LvmService(engine, queue, space))
    tracing = start_tracing(STAGE.name, settings.otlp_endpoint)
    server = Server(settings, settings.port, [service], metrics, tracing=tracing)

    async def close() -> None:
        await queue.close()
        engine.close()

    await serve([server], settings, metrics, stop=stop, ready=lambda: ready(server.port), close=[close])


async def main() -> None:
    """Reads the environment and serves."""
    settings = LvmSettings.from_mapping(os.environ, port=STAGE.port)
    configure_logs(settings.log_level, settings.log_format, texts=settings.log_text)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        family = Family.open(settings.family, settings.artifacts / "families")
        space = family.space
    except (FamilyError, OSError) as error:
        raise StartupError(str(error)) from error
    keep_what_is_loaded()
    await serve_lvm(settings, space)


if __name__ == "__main__":
    sys.exit(run(main))
