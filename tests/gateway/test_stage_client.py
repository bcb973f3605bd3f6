"""A stage's answer is taken when it comes; the end of its stream is nobody's business but the replica's."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from gateway.stage_client import Call
from gateway.stages import Stages
from nextvec.deadline import Deadline
from tests.gateway.toys import ToyEncoder


class Lingering(ToyEncoder):
    """Answers, and ends its streams when `may_end` is set, with `failure` where there is one."""

    def __init__(self):
        super().__init__()
        self.may_end = asyncio.Event()
        self.failure = None
        self.ended = []

    async def Encode(self, request_iterator, context):
        try:
            async for response in super().Encode(request_iterator, context):
                yield response
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("by itself")
        if self.failure:
            await context.abort(self.failure, "after the answer")


@asynccontextmanager
async def asked():
    """A toy that has answered a request, the stages that asked it, and the replica that it is to them."""
    toy = Lingering()
    await toy.start()
    stages = Stages(GatewaySettings(encoder_address=toy.address), GatewayMetrics(CollectorRegistry()))
    try:
        result, _ = await stages.encode(["one text"], Call("id", Deadline.after(5)))
        assert result.model_id == "toy-encoder"
        (replica,) = stages.clients["encoder"]._replicas.ready()
        yield toy, stages, replica
    finally:
        toy.may_end.set()
        await stages.close()
        await toy.server.drain()


async def until(true, seconds=3):
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("failure", [None, grpc.StatusCode.UNAVAILABLE])
async def test_an_answer_does_not_wait_for_the_end_of_its_stream(failure):
    async with asked() as (toy, _, replica):
        toy.failure = failure
        assert not toy.ended
        assert replica.in_flight == 1
        toy.may_end.set()
        await until(lambda: replica.in_flight == 0)
        assert toy.ended == ["by itself"]


async def test_streams_that_are_about_to_end_are_let_end_when_the_gateway_closes():
    async with asked() as (toy, stages, _):
        closing = asyncio.create_task(stages.close())
        await asyncio.sleep(0.1)
        toy.may_end.set()
        await closing
        await until(lambda: toy.ended)
        assert toy.ended == ["by itself"]


async def test_a_stream_that_never_ends_holds_up_nobody():
    async with asked() as (toy, stages, replica):
        async with asyncio.timeout(4):
            await stages.close()
        await until(lambda: toy.ended)
        assert toy.ended == ["cancelled"]
        assert replica.in_flight == 0
