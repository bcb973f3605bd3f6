"""A toy family and its engine, loaded once, and a real server of it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import torch

from nextvec.channel import open_channel
from nextvec.v1 import decoder_pb2_grpc
from services.decoder.__main__ import DecoderSettings, serve_decoder
from services.decoder.engine import Engine
from tests.services.decoder.toys import SENTENCES, toy_family

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """A family in the public checkpoints' format."""
    return toy_family(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def engine(family):
    """The toy family on the project's own backend."""
    return Engine.load(family, slots=8)


@pytest.fixture(scope="session")
def vectors(engine):
    """Eighteen vectors [18, 768], near texts and not."""
    noise = torch.Generator().manual_seed(5)
    exact = engine.embed(SENTENCES * 3)
    return exact + 0.3 * torch.randn(exact.shape, generator=noise)


@pytest.fixture
def serving(family, engine):
    """`async with serving() as stub`: a server of the toy family on a free port."""

    @asynccontextmanager
    async def start(**settings):
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        given = DecoderSettings(port=0, family="toy", artifacts=family.folder.parent.parent, **settings)
        server = asyncio.create_task(serve_decoder(given, family, engine, stop=stop, ready=port.set_result))
        done, _ = await asyncio.wait({server, port}, return_when=asyncio.FIRST_COMPLETED)
        if server in done:
            await server
        channel = open_channel(f"127.0.0.1:{port.result()}")
        try:
            yield decoder_pb2_grpc.DecoderServiceStub(channel)
        finally:
            await channel.close()
            stop.set()
            await asyncio.wait_for(server, 20)

    return start
