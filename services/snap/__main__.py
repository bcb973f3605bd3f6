"""The snap server: `python -m services.snap`, set by NEXTVEC_ variables."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from pydantic import Field

from nextvec.batching import BatchQueue
from nextvec.errors import StartupError
from nextvec.family import Family, FamilyError
from nextvec.logs import configure_logs, get_log
from nextvec.metrics import Metrics, Model
from nextvec.routes import stage_named
from nextvec.server import Server, Service, keep_what_is_loaded, run, serve
from nextvec.settings import StageSettings
from nextvec.tracing import start_tracing
from nextvec.v1.snap_pb2_grpc import add_SnapServiceServicer_to_server
from services.snap.bank import Bank
from services.snap.engine import SnapEngine
from services.snap.metrics import SnapMetrics
from services.snap.service import Answer, Item, SnapService

STAGE = stage_named("snap")

log = get_log(__name__)


class SnapSettings(StageSettings):
    """Settings of the snap stage."""

    bank: Path | None = Field(None, description="folder of the bank; unset for the family's own")


async def serve_snap(
    settings: SnapSettings,
    bank: Bank,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serves a bank until stopped; calls `ready` with the port."""
    metrics = Metrics(CollectorRegistry())
    queue: BatchQueue[Item, Answer] = BatchQueue(
        SnapEngine(bank).run,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        queue_limit=settings.queue_limit,
        name=STAGE.name,
        metrics=metrics.queue(STAGE.name),
    )
    metrics.models(STAGE.name, lambda: [Model(bank.record.id, bank.record.space)])
    servicer = SnapService(queue, bank.record, SnapMetrics(metrics.registry))
    service = Service(STAGE.service, add_SnapServiceServicer_to_server, servicer)
    tracing = start_tracing(STAGE.name, settings.otlp_endpoint)
    server = Server(settings, settings.port, [service], metrics, tracing=tracing)
    await serve([server], settings, metrics, stop=stop, ready=lambda: ready(server.port), close=[queue.close])


async def main() -> None:
    """Reads the environment, opens the bank and serves."""
    settings = SnapSettings.from_mapping(os.environ, port=STAGE.port)
    configure_logs(settings.log_level, settings.log_format, texts=settings.log_text)
    try:
        family = Family.open(settings.family, settings.artifacts / "families")
        space = family.space
    except (FamilyError, OSError) as error:
        raise StartupError(str(error)) from error
    bank = Bank.open(settings.bank or family.part("bank"), space)
    log.info("bank opened", bank=bank.record.id, entries=len(bank), documents=bank.record.documents)
    keep_what_is_loaded()
    await serve_snap(settings, bank)


if __name__ == "__main__":
    sys.exit(run(main))
