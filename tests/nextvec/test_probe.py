"""The health check of an image, asked of a real server."""

import asyncio

import pytest

from nextvec import probe
from nextvec.errors import StartupError
from nextvec.routes import GATEWAY_SERVICE, ROUTES


async def ask(toy, stage="encoder"):
    return await asyncio.to_thread(probe.probe, stage, {"NEXTVEC_PORT": str(toy.server.port)})


async def handle(request):
    raise AssertionError("health needs no request")


async def test_a_server_is_healthy_until_it_drains(serving):
    async with serving(handle) as toy:
        assert await ask(toy) == ""
        await toy.server.health.drain()
        assert await ask(toy) == "nextvec.v1.EncoderService: NOT_SERVING"


async def test_a_server_of_another_stage_is_not_taken_for_it(serving):
    async with serving(handle) as toy:
        assert "NOT_FOUND" in await ask(toy, "decoder")


def test_where_nobody_listens_is_said(unused_tcp_port, capsys, monkeypatch):
    monkeypatch.setenv("NEXTVEC_PORT", str(unused_tcp_port))
    assert probe.main(["encoder"]) == 1
    assert f"localhost:{unused_tcp_port}: UNAVAILABLE" in capsys.readouterr().err


def test_the_gateways_last_port_is_asked_for():
    assert probe.target("gateway", {}) == (GATEWAY_SERVICE, ROUTES[-1].port)
    assert probe.target("gateway", {"NEXTVEC_PORT_OFFSET": "100"})[1] == ROUTES[-1].port + 100


@pytest.mark.parametrize(
    ("stage", "environment", "named"),
    [
        ("enkoder", {}, "unknown stage 'enkoder'; have encoder, lvm, snap, decoder, gateway"),
        ("encoder", {"NEXTVEC_PORT": "many"}, "NEXTVEC_PORT='many'"),
        ("encoder", {"NEXTVEC_PORT": "65536"}, "NEXTVEC_PORT='65536'"),
    ],
)
def test_what_is_wrong_is_named(stage, environment, named):
    with pytest.raises(StartupError, match=named):
        probe.target(stage, environment)


def test_a_command_line_without_a_stage_is_refused(capsys):
    assert probe.main([]) == 2
    assert "usage" in capsys.readouterr().err
