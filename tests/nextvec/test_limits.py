"""What bounds a server: size of messages and metadata, calls on a connection. Each with its default."""

import asyncio

import grpc
import pytest

from nextvec.channel import open_channel
from nextvec.settings import ServerSettings
from nextvec.stream import ask
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub


async def answer(request):
    return EncodeResponse()


def test_every_limit_has_a_default():
    settings = ServerSettings()
    assert settings.max_message_bytes == 32 * 2**20
    assert settings.max_streams_per_connection == 1024
    assert settings.max_connection_age_seconds == 300


async def test_a_message_over_the_limit_is_refused_by_the_transport(serving):
    async with serving(answer, max_message_bytes=2**16) as toy:
        await ask(toy.stub.Encode, EncodeRequest(texts=["a" * 60_000]), stage="encoder")
        call = toy.stub.Encode(iter([EncodeRequest(texts=["a" * 70_000])]))
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_over_the_transports_limit_is_refused(serving):
    async with serving(answer) as toy:
        call = toy.stub.Encode(iter([EncodeRequest()]), metadata=(("filler", "x" * 100_000),))
        with pytest.raises(grpc.RpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_limit_of_a_connection_wait_for_one_to_end(serving):
    inside, release = [], asyncio.Event()

    async def slow(request):
        inside.append(1)
        await release.wait()
        return EncodeResponse()

    async with serving(slow, max_streams_per_connection=2) as toy, open_channel(toy.address) as channel:
        stub = EncoderServiceStub(channel)
        # A client knows the limit from the server's first words on.
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        calls = [asyncio.create_task(ask(stub.Encode, EncodeRequest(), stage="encoder")) for _ in range(5)]
        async with asyncio.timeout(10):
            while len(inside) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(inside) == 2
        release.set()
        await asyncio.gather(*calls)
        assert len(inside) == 5


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"])
async def test_a_health_request_that_cannot_be_read_is_a_wrong_input_and_no_bug(serving, path):
    async with serving(answer) as toy:
        with pytest.raises(grpc.RpcError) as caught:
            await toy.channel.unary_unary(path)(b"\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_reflection_request_that_cannot_be_read_is_a_wrong_input_and_no_bug(serving):
    async def garbage():
        yield b"\xff\xff"

    async with serving(answer) as toy:
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        with pytest.raises(grpc.RpcError) as caught:
            await toy.channel.stream_stream(path)(garbage()).read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
