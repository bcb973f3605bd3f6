"""The encoder server: `python -m services.encoder`, set by NEXTVEC_ variables."""

import asyncio
import os
import sys
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from pydantic import Field

from nextvec.batching import BatchQueue
from nextvec.cache import MAX_BYTES, Cache, CacheMetrics
from nextvec.family import Family
from nextvec.logs import configure_logs
from nextvec.metrics import Metrics, Model
from nextvec.routes import stage_named
from nextvec.server import Server, Service, keep_what_is_loaded, run, serve
from nextvec.settings import StageSettings
from nextvec.tracing import start_tracing
from nextvec.v1.encoder_pb2_grpc import add_EncoderServiceServicer_to_server
from services.encoder.cache import EncodedCodec
from services.encoder.engine import EncoderEngine, Tokens
from services.encoder.service import EncoderService
from services.families.embedder import Embedder

STAGE = stage_named("encoder")


class EncoderSettings(StageSettings):
    """Settings of the encoder stage; units of work are texts."""

    queue_limit: int = Field(4096, ge=1, description="texts that may wait; more are refused")
    threads: int | None = Field(None, ge=1, description="threads of one computation; unset for torch's own")
    cache_entries: int = Field(10_000, ge=1, description="encoded texts kept in the process")
    cache_bytes: int = Field(MAX_BYTES, ge=2**16, description="size of all of them, in bytes")
    cache_ttl_seconds: float = Field(86_400, gt=0, description="age at which an encoded text is forgotten")


async def serve_encoder(
    settings: EncoderSettings,
    family: Family,
    engine: EncoderEngine,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serves a family's encoder until stopped; calls `ready` with the port."""
    metrics = Metrics(CollectorRegistry())
    queue: BatchQueue[Tokens, NDArray[np.float32]] = BatchQueue(
        engine.encode,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        queue_limit=settings.queue_limit,
        name=STAGE.name,
        metrics=metrics.queue(STAGE.name),
    )
    cache = Cache(
        EncodedCodec(),
        CacheMetrics(metrics.registry, STAGE.name),
        entries=settings.cache_entries,
        ttl_s=settings.cache_ttl_seconds,
        max_bytes=settings.cache_bytes,
        redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
        redis_timeout_s=settings.redis_timeout_ms / 1000,
    )
    await cache.connect()
    model_id = f"{family.name}/encoder-{family.space[-12:]}"
    metrics.models(STAGE.name, lambda: [Model(model_id, family.space)])
    servicer = EncoderService(engine, queue, cache, family, model_id)
    service = Service(STAGE.service, add_EncoderServiceServicer_to_server, servicer)
    tracing = start_tracing(STAGE.name, settings.otlp_endpoint)
    server = Server(settings, settings.port, [service], metrics, tracing=tracing)
    await serve(
        [server],
        settings,
        metrics,
        stop=stop,
        ready=lambda: ready(server.port),
        close=[queue.close, cache.close],
    )


async def main() -> None:
    """Reads the environment, loads the weights and serves."""
    settings = EncoderSettings.from_mapping(os.environ, port=STAGE.port)
    configure_logs(settings.log_level, settings.log_format, texts=settings.log_text)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    family = Family.open(settings.family, settings.artifacts / "families")
    engine = EncoderEngine(Embedder.load(family).made_fast())
    keep_what_is_loaded()
    await serve_encoder(settings, family, engine)


if __name__ == "__main__":
    sys.exit(run(main))
