"""The `mini` encoder, loaded once, and a real server of it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import torch

from nextvec.channel import open_channel
from nextvec.family import FAMILIES, Family
from nextvec.v1 import encoder_pb2_grpc
from services.encoder.__main__ import EncoderSettings, serve_encoder
from services.encoder.engine import EncoderEngine
from services.families.embedder import Embedder

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family():
    return Family.open("mini", FAMILIES)


@pytest.fixture(scope="session")
def engine(family):
    return EncoderEngine(Embedder.load(family).made_fast())


@pytest.fixture
def serving(family, engine):
    """`async with serving() as stub`: a server on a free port."""

    @asynccontextmanager
    async def start(**settings):
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        given = EncoderSettings(port=0, **settings)
        server = asyncio.create_task(serve_encoder(given, family, engine, stop=stop, ready=port.set_result))
        done, _ = await asyncio.wait({server, port}, return_when=asyncio.FIRST_COMPLETED)
        if server in done:
            await server
        channel = open_channel(f"127.0.0.1:{port.result()}")
        try:
            yield encoder_pb2_grpc.EncoderServiceStub(channel)
        finally:
            await channel.close()
            stop.set()
            await asyncio.wait_for(server, 20)

    return start
