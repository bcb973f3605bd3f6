"""A toy bank of invented documents, and a real snap server over it on a free port."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from nextvec.channel import open_channel
from nextvec.v1 import snap_pb2_grpc
from services.snap.__main__ import SnapSettings, serve_snap
from services.snap.bank import Bank
from services.snap.writing import write_bank

SPACE = "toy-000000000000"
DOCUMENTS, CHUNKS = 6, 10


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.fixture
def folder(tmp_path, random):
    """A bank of 6 documents with 10 chunks each, in clusters by document; norms from 1 to 20."""
    topics = np.repeat(random.standard_normal((DOCUMENTS, 768)), CHUNKS, axis=0)
    vectors = topics + random.standard_normal((DOCUMENTS * CHUNKS, 768))
    vectors *= random.uniform(1, 20, (len(vectors), 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    write_bank(
        tmp_path / "bank",
        vectors,
        [f"Chunk {p} of document {d}." for d in range(DOCUMENTS) for p in range(CHUNKS)],
        [f"document {d}" for d in range(DOCUMENTS) for _ in range(CHUNKS)],
        [p for _ in range(DOCUMENTS) for p in range(CHUNKS)],
        space=SPACE,
        sources=["invented (CC0-1.0)"],
    )
    return tmp_path / "bank"


@pytest.fixture
def bank(folder):
    return Bank.open(folder, SPACE)


@pytest.fixture
def serving(bank):
    """`async with serving() as stub`: a server over the bank."""

    @asynccontextmanager
    async def start(**settings):
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        server = asyncio.create_task(
            serve_snap(SnapSettings(port=0, **settings), bank, stop=stop, ready=port.set_result)
        )
        done, _ = await asyncio.wait({server, port}, return_when=asyncio.FIRST_COMPLETED)
        if server in done:
            await server
        channel = open_channel(f"127.0.0.1:{port.result()}")
        try:
            yield snap_pb2_grpc.SnapServiceStub(channel)
        finally:
            await channel.close()
            stop.set()
            await asyncio.wait_for(server, 10)

    return start
