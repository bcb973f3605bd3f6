"""A toy encoder behind a real server on a free port, and caches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from nextvec.channel import open_channel
from nextvec.metrics import Metrics
from nextvec.server import Server, Service
from nextvec.settings import ServerSettings
from nextvec.stream import serve_items
from nextvec.tracing import NO_TRACING, Tracing
from nextvec.v1 import encoder_pb2_grpc
from nextvec.v1.encoder_pb2 import EncodeResponse
from tests.nextvec.caches import text_cache

Handle = Callable[..., Awaitable[EncodeResponse]]


class ToyEncoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Serves its stream with any handler."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    async def Encode(self, request_iterator, context):
        async for response in serve_items(request_iterator, self.handle, EncodeResponse, limit=4):
            yield response


class Toy:
    """A running server, its channel and stub, and its metrics."""

    def __init__(self, server: Server, metrics: Metrics, tracing: Tracing) -> None:
        self.server = server
        self.metrics = metrics
        self.address = f"127.0.0.1:{server.port}"
        self.channel = open_channel(self.address, tracing=tracing)
        self.stub = encoder_pb2_grpc.EncoderServiceStub(self.channel)


@pytest.fixture
def serving():
    """`async with serving(handle) as toy`: a toy encoder that answers with `handle`."""

    @asynccontextmanager
    async def start(handle: Handle, servicer=None, tracing=NO_TRACING, **settings) -> AsyncIterator[Toy]:
        metrics = Metrics(CollectorRegistry())
        service = Service(
            "nextvec.v1.EncoderService",
            encoder_pb2_grpc.add_EncoderServiceServicer_to_server,
            servicer or ToyEncoder(handle),
        )
        settings = ServerSettings(**{"drain_seconds": 5, **settings})
        server = Server(settings, 0, [service], metrics, tracing=tracing)
        await server.start()
        toy = Toy(server, metrics, tracing)
        try:
            yield toy
        finally:
            await toy.channel.close()
            await asyncio.wait_for(server.drain(), 10)

    return start


@pytest.fixture
async def cache_at():
    """`cache_at(redis_url, ...)`: caches of strings that are closed in the end."""
    caches = []

    def build(*arguments, **limits):
        caches.append(text_cache(*arguments, **limits))
        return caches[-1]

    yield build
    for cache in caches:
        await cache.close()
