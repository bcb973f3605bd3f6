import importlib

import pytest

from nextvec.errors import UnknownRoute
from nextvec.routes import GATEWAY_SERVICE, ROUTES, STAGES, route_named, stage_named


def test_the_six_ports_are_the_published_ones():
    assert {route.port: route.name for route in ROUTES} == {
        9001: "amn",
        9002: "transformer",
        9003: "gru",
        9004: "lstm",
        9005: "direct",
        9006: "transformer-optimized",
    }


def test_only_direct_has_no_model():
    assert [route.name for route in ROUTES if not route.has_lvm] == ["direct"]
    assert route_named("transformer-optimized").link == "transformer_optimized_v0"
    assert route_named("direct").link == ""


def test_an_unknown_route_lists_the_known_ones():
    with pytest.raises(UnknownRoute) as caught:
        route_named("os")
    assert caught.value.message == (
        "unknown route 'os'; have amn, transformer, gru, lstm, direct, transformer-optimized"
    )


@pytest.mark.parametrize("service", [*(stage.service for stage in STAGES), GATEWAY_SERVICE])
def test_every_service_in_the_table_is_in_the_protocol(service):
    name = service.removeprefix("nextvec.v1.")
    module = importlib.import_module(f"nextvec.v1.{name.removesuffix('Service').lower()}_pb2")
    assert name in module.DESCRIPTOR.services_by_name


def test_stages_have_names_and_ports_of_their_own():
    assert len({stage.port for stage in STAGES} | {route.port for route in ROUTES}) == 10
    assert stage_named("decoder").service == "nextvec.v1.DecoderService"
