import asyncio
import json
import os
import signal
import socket
import urllib.request

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client import CollectorRegistry

from nextvec import server as server_module
from nextvec.errors import PortInUse, QueueFull, SettingsError, StageUnavailable, WrongSpace, from_rpc
from nextvec.metrics import Metrics
from nextvec.server import Server, run, serve
from nextvec.settings import ServerSettings
from nextvec.stream import ask
from nextvec.v1 import encoder_pb2_grpc
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse, EncodeResult

SERVICE = "nextvec.v1.EncoderService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def answer(request):
    return EncodeResponse(result=EncodeResult(token_counts=[len(text) for text in request.texts]))


class Raising(encoder_pb2_grpc.EncoderServiceServicer):
    """Fails the whole stream."""

    def __init__(self, error):
        self.error = error

    async def Encode(self, request_iterator, context):
        raise self.error
        yield


def requests_logged(log_lines):
    return [line for line in log_lines() if line["event"] == "request"]


async def test_health_answers_for_the_service_and_overall_and_not_for_a_stranger(serving):
    async with serving(answer) as toy:
        health = health_pb2_grpc.HealthStub(toy.channel)
        for name in ("", SERVICE):
            reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="x"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await toy.server.health.set(SERVICE, False)
        reply = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert reply.status == NOT_SERVING


async def test_a_watch_sees_the_drain_and_does_not_hold_it_up(serving):
    async with serving(answer, drain_seconds=60) as toy:
        watch = health_pb2_grpc.HealthStub(toy.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        statuses = aiter(watch)
        assert (await anext(statuses)).status == SERVING
        drain = asyncio.create_task(toy.server.drain())
        assert (await anext(statuses)).status == NOT_SERVING
        with pytest.raises(StopAsyncIteration):
            await anext(statuses)
        await asyncio.wait_for(drain, 5)


async def test_reflection_lists_and_describes_the_services(serving):
    async with serving(answer) as toy:

        def describe():
            with grpc.insecure_channel(toy.address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                pool = DescriptorPool(database)
                service = pool.FindServiceByName(SERVICE)
                return database.get_services(), [method.name for method in service.methods]

        names, methods = await asyncio.to_thread(describe)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(names)
        assert methods == ["Encode"]


async def test_an_error_of_the_handler_reaches_the_client_as_the_same_error(serving):
    for error in (WrongSpace("theirs, not ours"), QueueFull("full", 30)):
        async with serving(answer, Raising(error)) as toy:
            with pytest.raises(type(error)) as caught:
                await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
            assert caught.value.message == error.message
            assert caught.value.retry_delay_ms == error.retry_delay_ms


async def test_a_bug_reaches_the_client_as_an_id_and_the_log_with_its_traceback(serving, log_lines):
    async with serving(answer, Raising(ZeroDivisionError("the secret text"))) as toy:
        call = toy.stub.Encode()
        with pytest.raises(grpc.RpcError) as caught:
            await call.read()
        error = from_rpc(caught.value, "encoder")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()
    [bug] = [line for line in log_lines() if line["event"] == "bug"]
    assert bug["error_id"] == error.error_id
    assert "ZeroDivisionError" in bug["exception"]


async def test_a_request_is_one_log_line_without_the_users_text(serving, log_lines):
    async with serving(answer) as toy:
        request = EncodeRequest(request_id="r1", texts=["my private text"])
        await ask(toy.stub.Encode, request, stage="encoder")
    [line] = requests_logged(log_lines)
    assert line["method"] == "EncoderService/Encode"
    assert (line["code"], line["items"], line["request_id"]) == ("OK", 1, "r1")
    assert line["ms"] > 0
    assert "private" not in json.dumps(log_lines())


async def test_requests_are_counted_by_method_and_code(serving):
    async with serving(answer, Raising(QueueFull("full"))) as toy:
        with pytest.raises(QueueFull):
            await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
        labels = {"method": "EncoderService/Encode", "code": "RESOURCE_EXHAUSTED"}
        # The client has its status a moment before the server has counted it.
        for _ in range(500):
            if counted := toy.metrics.registry.get_sample_value("nextvec_requests_total", labels):
                break
            await asyncio.sleep(0.01)
        assert counted == 1


async def test_a_message_over_the_size_limit_is_refused(serving):
    async with serving(answer, max_message_bytes=2**16) as toy:
        with pytest.raises(QueueFull, match="larger than max"):
            await ask(toy.stub.Encode, EncodeRequest(texts=["x" * 2**17]), stage="encoder")


async def test_the_drain_finishes_what_is_in_flight_and_refuses_more(serving):
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request):
        entered.set()
        await release.wait()
        return await answer(request)

    async with serving(slow) as toy:
        in_flight = asyncio.create_task(ask(toy.stub.Encode, EncodeRequest(texts=["abc"]), stage="encoder"))
        await entered.wait()
        drain = asyncio.create_task(toy.server.drain())
        await asyncio.sleep(0.05)
        assert not drain.done()
        with pytest.raises(StageUnavailable):
            await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
        release.set()
        assert list((await in_flight).result.token_counts) == [3]
        await asyncio.wait_for(drain, 5)


async def test_the_drain_ends_after_its_seconds(serving):
    async def forever(request):
        await asyncio.Event().wait()

    async with serving(forever, drain_seconds=0.05) as toy:
        stuck = asyncio.create_task(ask(toy.stub.Encode, EncodeRequest(), stage="encoder"))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(toy.server.drain(), 5)
        with pytest.raises(StageUnavailable):
            await stuck


async def test_a_terminated_process_drains_all_its_servers_then_closes(serving):
    settings = ServerSettings(metrics_port=0)
    metrics = Metrics(CollectorRegistry())
    servers = [Server(settings, 0, [], metrics) for _ in range(6)]
    done = []

    async def close():
        done.append("closed")

    await asyncio.wait_for(
        serve(servers, settings, metrics, ready=lambda: os.kill(os.getpid(), signal.SIGTERM), close=[close]),
        10,
    )
    assert done == ["closed"]
    assert len({server.port for server in servers}) == 6


async def test_metrics_are_served_over_http(log_lines):
    settings = ServerSettings(metrics_port=0)
    metrics = Metrics(CollectorRegistry())
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(serve([], settings, metrics, stop=stop, ready=ready.set))
    await ready.wait()
    [port] = [line["port"] for line in log_lines() if line["event"] == "metrics"]

    def get():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            return page.read().decode()

    assert "nextvec_requests_total" in await asyncio.to_thread(get)
    stop.set()
    await running


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_a_port_in_use_is_named_and_the_other_servers_are_stopped(taken_port):
    settings, metrics = ServerSettings(), Metrics(CollectorRegistry())
    servers = [Server(settings, 0, [], metrics), Server(settings, taken_port, [], metrics)]
    with pytest.raises(PortInUse, match=f"port {taken_port} on 127.0.0.1 is in use"):
        await serve(servers, settings, metrics)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", servers[0].port)) != 0


async def test_two_servers_never_share_a_port(serving):
    async with serving(answer) as toy:
        second = Server(ServerSettings(), toy.server.port, [], Metrics(CollectorRegistry()))
        with pytest.raises(PortInUse):
            await second.start()


def test_a_startup_error_is_printed_and_gives_the_exit_code(capsys):
    async def main():
        raise SettingsError("NEXTVEC_PORT is not set")

    assert run(main) == 2
    assert capsys.readouterr().err == "NEXTVEC_PORT is not set\n"


def test_a_process_that_ends_well_exits_with_zero():
    async def main():
        assert type(asyncio.get_running_loop()).__module__.startswith(server_module.uvloop.__name__)

    assert run(main) == 0
