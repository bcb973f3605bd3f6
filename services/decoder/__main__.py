"""The decoder server: `python -m services.decoder`, set by NEXTVEC_ variables."""

import asyncio
import os
import sys
from collections.abc import Callable

import torch
from prometheus_client import CollectorRegistry
from pydantic import Field

from nextvec.cache import MAX_BYTES, Cache, CacheMetrics
from nextvec.errors import SettingsError
from nextvec.family import Family
from nextvec.logs import configure_logs, get_log
from nextvec.metrics import Metrics, Model
from nextvec.routes import stage_named
from nextvec.server import Server, Service, keep_what_is_loaded, run, serve
from nextvec.settings import StageSettings, variable
from nextvec.tracing import start_tracing
from nextvec.v1.decoder_pb2_grpc import add_DecoderServiceServicer_to_server
from services.decoder.backends import BACKENDS
from services.decoder.cache import Keys, StandingCodec
from services.decoder.engine import Engine
from services.decoder.ladder import Ladder
from services.decoder.metrics import DecoderMetrics
from services.decoder.quotations import Quotations
from services.decoder.scheduler import Scheduler
from services.decoder.service import DecoderService
from services.layers import unusable

log = get_log(__name__)

STAGE = stage_named("decoder")


class DecoderSettings(StageSettings):
    """Settings of the decoder stage; `max_batch` vectors are decoded at once."""

    backend: str = Field("native", min_length=1, description="engine: a file in services/decoder/backends")
    threads: int | None = Field(None, ge=1, description="threads of one computation; unset for torch's own")
    cache_entries: int = Field(20_000, ge=1, description="decoded rungs kept in the process")
    cache_bytes: int = Field(MAX_BYTES, ge=2**16, description="size of all of them, in bytes")
    cache_ttl_seconds: float = Field(86_400, gt=0, description="age at which a decoded rung is forgotten")


async def serve_decoder(
    settings: DecoderSettings,
    family: Family,
    engine: Engine,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serves an engine of the family until stopped; calls `ready` with the port."""
    metrics = Metrics(CollectorRegistry())
    scheduler = Scheduler(engine, queue_limit=settings.queue_limit, metrics=metrics.queue(STAGE.name))
    cache = Cache(
        StandingCodec(),
        CacheMetrics(metrics.registry, STAGE.name),
        entries=settings.cache_entries,
        ttl_s=settings.cache_ttl_seconds,
        max_bytes=settings.cache_bytes,
        redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
        redis_timeout_s=settings.redis_timeout_ms / 1000,
    )
    await cache.connect()
    ladder = Ladder(
        Keys(family.space, engine.digest),
        scheduler,
        cache,
        Quotations(family, engine.embed),
        DecoderMetrics(metrics.registry, engine.passes),
    )
    model_id = f"{family.name}/{settings.backend}-{engine.digest[:12]}"
    metrics.models(STAGE.name, lambda: [Model(model_id, family.space)])
    servicer = DecoderService(ladder, family.space, model_id)
    service = Service(STAGE.service, add_DecoderServiceServicer_to_server, servicer)
    tracing = start_tracing(STAGE.name, settings.otlp_endpoint)
    server = Server(settings, settings.port, [service], metrics, tracing=tracing)
    await serve(
        [server],
        settings,
        metrics,
        stop=stop,
        ready=lambda: ready(server.port),
        close=[scheduler.close, cache.close],
    )


async def main() -> None:
    """Reads the environment, loads the weights and serves."""
    settings = DecoderSettings.from_mapping(os.environ, port=STAGE.port)
    configure_logs(settings.log_level, settings.log_format, texts=settings.log_text)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    family = Family.open(settings.family, settings.artifacts / "families")
    if settings.backend not in BACKENDS.names():
        raise SettingsError(f"{variable('backend')}={settings.backend!r}; have {', '.join(BACKENDS.names())}")
    log.info("decoder backend", backend=settings.backend, kernel=unusable() or "compiled")
    engine = Engine.load(family, settings.backend, settings.max_batch)
    keep_what_is_loaded()
    await serve_decoder(settings, family, engine)


if __name__ == "__main__":
    sys.exit(run(main))
