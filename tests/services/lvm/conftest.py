"""Toy models in a registry folder, and a real LVM server over it on a free port."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch

from nextvec.channel import open_channel
from nextvec.routes import route_named
from nextvec.v1 import lvm_pb2_grpc
from services.lvm.__main__ import LvmSettings, serve_lvm
from services.lvm.registry import promote
from tests.services.lvm.toys import SPACE, save_toy

torch.set_num_threads(1)


@pytest.fixture
def contexts():
    """Six contexts [6, 5, 768] of vectors of many lengths."""
    return np.random.default_rng(1).normal(0, 3, (6, 5, 768)).astype(np.float32)


@pytest.fixture
def models(tmp_path):
    """A registry folder with a promoted toy model for every route."""
    folder = tmp_path / "artifacts" / "lvm" / "models"
    for route in ("amn", "gru", "lstm", "transformer", "transformer-optimized"):
        architecture = route.partition("-")[0]
        stem = route.replace("-", "_")
        promote(save_toy(folder, architecture, stem, seed=len(route)), route_named(route).name)
    return folder


@pytest.fixture
def serving(models):
    """`async with serving() as stub`: a server over `models`."""

    @asynccontextmanager
    async def start(**settings):
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        given = LvmSettings(port=0, artifacts=models.parent.parent, **{"max_wait_ms": 20, **settings})
        server = asyncio.create_task(serve_lvm(given, SPACE, stop=stop, ready=port.set_result))
        done, _ = await asyncio.wait({server, port}, return_when=asyncio.FIRST_COMPLETED)
        if server in done:
            await server
        channel = open_channel(f"127.0.0.1:{port.result()}")
        try:
            yield lvm_pb2_grpc.LvmServiceStub(channel)
        finally:
            await channel.close()
            stop.set()
            await asyncio.wait_for(server, 10)

    return start
