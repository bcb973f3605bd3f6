"""A whole gateway over toy stages, all on real sockets."""

import asyncio
import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gateway.__main__ import serve_gateway
from gateway.cutting import Cutter
from gateway.settings import GatewaySettings
from nextvec.channel import open_channel
from nextvec.errors import from_rpc
from nextvec.logs import configure_logs
from nextvec.routes import ROUTES
from nextvec.v1.gateway_pb2 import CompleteRequest, GenerateRequest
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub
from tests.gateway.toys import SPACE, ToyDecoder, ToyEncoder, ToyLvm, ToySnap, count_tokens

TOKEN_LIMIT = 12
FIVE = [f"Own chunk number {number}." for number in range(5)]


@contextmanager
def dead_address():
    """An address where nobody listens; held, so that no other server of the test gets the port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


PATIENT = dict.fromkeys(
    ("budget_seconds", "encode_seconds", "lvm_seconds", "snap_seconds", "decode_seconds"), 20
)
"""For tests that are not about time, on machines that may be busy."""


@pytest.fixture(autouse=True)
def logs():
    """What a server process does first."""
    configure_logs("warning")


@dataclass
class System:
    """A running gateway, its toy stages and clients of its ports."""

    stages: dict
    ports: dict
    registry: CollectorRegistry
    stop: asyncio.Event
    running: asyncio.Task
    channels: dict = field(default_factory=dict)

    def channel(self, route="amn"):
        if route not in self.channels:
            self.channels[route] = open_channel(f"127.0.0.1:{self.ports[route]}")
        return self.channels[route]

    def stub(self, route="amn"):
        return GatewayServiceStub(self.channel(route))

    async def complete(self, *, on="amn", timeout=None, **fields):
        """The response of the port of route `on`; raises the gateway's NextvecError."""
        if "paragraph" not in fields:
            fields.setdefault("messages", FIVE)
        try:
            return await self.stub(on).Complete(CompleteRequest(**fields), timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc(error, "gateway") from None

    async def generate(self, *items, on="amn"):
        """All responses to the items, in the order of their arrival."""
        return [response async for response in self.stub(on).Generate(iter(items))]

    async def until(self, condition):
        """Waits, two seconds at most, until `condition()` is true."""
        async with asyncio.timeout(2):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def sample(self, name, **labels):
        return self.registry.get_sample_value(f"nextvec_gateway_{name}", labels)

    def __getattr__(self, name):
        return self.stages[name]


def item(request_id, hypotheses=False, **fields):
    """One item of a Generate stream."""
    if "paragraph" not in fields:
        fields.setdefault("messages", FIVE)
    return GenerateRequest(
        request_id=request_id, request=CompleteRequest(**fields), stream_hypotheses=hypotheses
    )


@pytest.fixture
def serving():
    """`async with serving(...) as system`: `bank` is a list of documents, `down` names stages not started."""

    @asynccontextmanager
    async def start(*, bank=(("Bank chunk zero.", "Bank chunk one."),), down=(), **settings):
        stages = {stage.name: stage for stage in (ToyEncoder(), ToyLvm(), ToySnap(bank), ToyDecoder())}
        held = ExitStack()
        addresses = {f"{name}_address": held.enter_context(dead_address()) for name in down}
        for name, stage in stages.items():
            if name not in down:
                await stage.start()
                addresses[f"{name}_address"] = stage.address
        stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()
        registry = CollectorRegistry()
        running = asyncio.create_task(
            serve_gateway(
                GatewaySettings(**{"drain_seconds": 5, **addresses, **settings}),
                Cutter(count_tokens, TOKEN_LIMIT),
                SPACE,
                {route.name: 0 for route in ROUTES},
                registry=registry,
                stop=stop,
                ready=ports.set_result,
            )
        )
        await asyncio.wait([running, ports], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        system = System(stages, ports.result(), registry, stop, running)
        try:
            yield system
        finally:
            for channel in system.channels.values():
                await channel.close()
            stop.set()
            await asyncio.wait_for(running, 15)
            for stage in stages.values():
                if stage.server:
                    await stage.server.drain()
            held.close()

    return start
