"""The gateway as a process: ports, health, listing, bad input on the wire, logs, and its end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gateway.board import FRESH_SECONDS
from nextvec.errors import InvalidInput, PortInUse, StageUnavailable, UnknownRoute
from nextvec.routes import GATEWAY_SERVICE, ROUTES
from nextvec.v1.gateway_pb2 import ListRoutesRequest
from tests.gateway.conftest import item

ROOT = Path(__file__).resolve().parents[2]


async def listed(system, route="amn"):
    response = await system.stub(route).ListRoutes(ListRoutesRequest())
    return {info.route: info for info in response.routes}


async def test_every_port_lists_all_routes_with_their_models(serving):
    async with serving() as system:
        for port in ("amn", "direct"):
            routes = await listed(system, port)
            assert list(routes) == [route.name for route in ROUTES]
            for name, info in routes.items():
                assert info.port == system.ports[name]
                assert info.available
                assert info.healthy
                assert info.reason == ""
        assert routes["gru"].model.trained_on[0].source == "toy corpus"
        assert not routes["direct"].HasField("model")


async def test_a_stage_that_is_down_makes_the_routes_that_need_it_unhealthy(serving):
    async with serving(down=["lvm"]) as system:
        routes = await listed(system)
        assert not routes["amn"].healthy
        assert not routes["amn"].available
        assert routes["amn"].reason.startswith("the lvm stage at 127.0.0.1:")
        assert routes["direct"].healthy
        assert routes["direct"].available


async def test_a_route_without_a_model_is_not_available_and_says_why(serving):
    async with serving() as system:
        system.lvm.routes = ("amn",)
        routes = await listed(system)
        assert routes["amn"].available
        assert not routes["gru"].available
        assert routes["gru"].reason == "the LVM stage has no model for gru"


async def test_the_listing_is_fresh_within_a_second(serving):
    async with serving() as system:
        assert (await listed(system))["direct"].healthy
        await system.decoder.server.drain()
        await asyncio.sleep(FRESH_SECONDS)
        route = (await listed(system))["direct"]
        assert not route.healthy
        assert route.reason.startswith("the decoder stage at ")


async def test_health_and_reflection_answer_on_every_port(serving):
    async with serving(down=["encoder", "lvm", "snap", "decoder"]) as system:
        for route in ROUTES:
            health = health_pb2_grpc.HealthStub(system.channel(route.name))
            reply = await health.Check(health_pb2.HealthCheckRequest(service=GATEWAY_SERVICE))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING

        def reflect():
            with grpc.insecure_channel(f"127.0.0.1:{system.ports['lstm']}") as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                service = DescriptorPool(database).FindServiceByName(GATEWAY_SERVICE)
                return set(database.get_services()), {method.name for method in service.methods}

        services, methods = await asyncio.to_thread(reflect)
        assert {GATEWAY_SERVICE, "grpc.health.v1.Health"} <= services
        assert methods == {"Generate", "Complete", "ListRoutes"}


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"paragraph": ""}, InvalidInput, "both empty"),
        ({"paragraph": "x" * 10_000_000}, InvalidInput, "10,000,000 characters; must have at most 32,768"),
        ({"paragraph": "a\x00b"}, InvalidInput, r"U\+0000 at 1"),
        ({"messages": ["It rained."] * 600}, InvalidInput, "600 entries; must have at most 256"),
        ({"paragraph": "It rained. " * 600}, InvalidInput, "makes 600 chunks; must make at most 256"),
        ({"messages": ["a"], "paragraph": "b"}, InvalidInput, "both set"),
        ({"max_chunks": 600}, InvalidInput, "max_chunks is 600; must be at most 16"),
        ({"rungs": [5, 3]}, InvalidInput, r"rungs is \[5, 3\]; must rise"),
        ({"route": "os"}, UnknownRoute, "have amn, transformer, gru, lstm, direct, transformer-optimized"),
        ({"route": "gru"}, InvalidInput, "route is 'gru', but port .* answers 'amn'"),
    ],
)
async def test_bad_input_is_refused_on_the_wire_and_asks_no_stage(serving, fields, error, message):
    async with serving() as system:
        with pytest.raises(error, match=message):
            await system.complete(**fields)
        assert not system.encoder.requests
        assert (await system.complete()).chunks


async def test_text_that_is_not_utf8_is_an_invalid_argument(serving):
    async with serving() as system:
        raw = system.channel().unary_unary("/nextvec.v1.GatewayService/Complete")
        with pytest.raises(grpc.RpcError) as caught:
            await raw(b"\x1a\x02\xff\xfe")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "strings in UTF-8" in caught.value.details()


async def test_one_word_is_answered(serving):
    async with serving() as system:
        assert (await system.complete(paragraph="Rain")).chunks[0].text


async def test_the_log_has_one_line_per_request_and_none_of_its_text(serving, log_lines):
    async with serving() as system:
        await system.complete(request_id="one", messages=["Secret word xylophone."])
        with pytest.raises(InvalidInput):
            await system.complete(request_id="two", messages=["xylophone\x00"])
        with pytest.raises(UnknownRoute):
            await system.complete(request_id="three", route="xylophone")
        await system.generate(item("four", messages=["xylophone"]), item("five", messages=["xylophone\x01"]))
    lines = [line for line in log_lines() if line["event"] in ("request", "item")]
    by_id = {line["request_id"]: line for line in lines if "items" not in line}
    assert sorted(by_id) == ["five", "four", "one", "three", "two"]
    assert by_id["one"]["outcome"] == by_id["four"]["outcome"] == "OK"
    assert by_id["two"]["outcome"] == by_id["five"]["outcome"] == "INVALID_ARGUMENT"
    one = by_id["one"]
    assert (one["route"], one["context"], one["own"], one["chunks"]) == ("amn", "repeat_pad", 1, 1)
    assert one["snap_ms"] > 0
    assert not any("xylophone" in json.dumps(line) or "decoded" in json.dumps(line) for line in log_lines())


async def test_sigterm_finishes_requests_in_flight_and_refuses_new_ones(serving):
    may_go = asyncio.Event()
    async with serving() as system:
        system.decoder.before = lambda request: may_go.wait()
        unary = asyncio.create_task(system.complete())
        streamed = asyncio.create_task(system.generate(item("a"), on="gru"))
        await system.until(lambda: len(system.decoder.requests) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        with pytest.raises(StageUnavailable):
            await system.complete(on="lstm")
        assert not system.running.done()
        may_go.set()
        assert (await unary).chunks[0].text
        assert (await streamed)[-1].complete.chunks[0].text
        await asyncio.wait_for(system.running, 5)


async def test_the_process_serves_six_ports_and_ends_on_sigterm():
    offset = 20_000 + os.getpid() % 20_000
    environment = {**os.environ, "NEXTVEC_PORT_OFFSET": str(offset), "NEXTVEC_LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )
    try:
        for route in ROUTES:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{route.port + offset}") as channel:
                health = health_pb2_grpc.HealthStub(channel)
                reply = await health.Check(
                    health_pb2.HealthCheckRequest(service=GATEWAY_SERVICE), wait_for_ready=True, timeout=30
                )
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NEXTVEC_FAMILY", "none-such", "no family 'none-such'"),
        ("NEXTVEC_LVM_ADDRESS", "lvm", "NEXTVEC_LVM_ADDRESS='lvm'"),
    ],
)
def test_a_process_that_cannot_start_says_why_in_a_line(variable, value, message):
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_port_in_use_is_named(serving):
    from gateway.__main__ import serve_gateway
    from gateway.settings import GatewaySettings

    async with serving() as system:
        ports = {route.name: 0 for route in ROUTES} | {"gru": system.ports["gru"]}
        with pytest.raises(PortInUse, match=str(system.ports["gru"])):
            await serve_gateway(GatewaySettings(), None, "toy-1", ports)
