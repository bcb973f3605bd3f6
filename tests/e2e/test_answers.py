"""The six ports of a real system answer, and the second time from the cache."""

import re

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from nextvec.routes import GATEWAY_SERVICE, ROUTES, STAGES
from nextvec.v1.gateway_pb2 import CONTEXT_SOURCE_SEQ
from tests.e2e.running import PARAGRAPH

PARAMETERS = {
    "amn": 1_510_912,
    "transformer": 17_867_520,
    "gru": 7_095_552,
    "lstm": 5_120_768,
    "direct": 0,
    "transformer-optimized": 17_867_520,
}

PLAIN = (
    "The children walked to school along the river.",
    "The old bridge was built of stone.",
    "Farmers grow wheat and barley in the valley.",
    "The train leaves the station at noon.",
    "She wrote a long letter to her brother.",
)

names = pytest.mark.parametrize("name", [route.name for route in ROUTES])


@names
def test_every_route_answers_from_the_callers_own_chunks(system, name):
    with system.client(name) as client:
        response = client.complete(PARAGRAPH).response
    assert response.route == name
    assert response.chunks[0].text.strip()
    assert response.context.source == CONTEXT_SOURCE_SEQ
    assert not response.degraded
    expected = {"encoder", "decoder"} if name == "direct" else {stage.name for stage in STAGES}
    assert {timing.stage for timing in response.timings} == expected
    assert expected <= set(response.model_ids) | {"snap"}
    assert response.space.startswith("mini-")


@names
def test_the_second_identical_request_comes_from_the_cache(system, name):
    text = f"{PARAGRAPH} Then somebody knocked at the door."
    with system.client(name) as client:
        first = client.complete(text).response
        repeats = [client.complete(text).response for _ in range(5)]
    assert not first.chunks[0].cache_hit
    for again in repeats:
        assert again.chunks[0].cache_hit
        assert again.chunks[0].text == first.chunks[0].text
        assert again.chunks[0].steps == first.chunks[0].steps
    # The quickest, for the machine may do other things meanwhile.
    decoding = [t.compute_ms for again in repeats for t in again.timings if t.stage == "decoder"]
    assert min(decoding) < 1


def test_routes_know_their_models_and_what_these_were_trained_on(system):
    with system.client() as client:
        routes = {route.route: route for route in client.routes()}
    assert {name: route.port for name, route in routes.items()} == system.where["routes"]
    assert {name: route.model.parameters for name, route in routes.items()} == PARAMETERS
    for name, route in routes.items():
        assert route.available, route.reason
        assert route.healthy, route.reason
        assert bool(route.model.trained_on) == (name != "direct")


def test_a_sentence_comes_back_with_most_of_its_words(system):
    def words(text):
        return set(re.findall(r"[a-z]+", text.lower()))

    with system.client("direct") as client:
        kept = [
            len(words(sentence) & words(client.complete(sentence).text)) / len(words(sentence))
            for sentence in PLAIN
        ]
    assert sum(kept) / len(kept) > 0.5, kept


def test_three_chunks_follow_one_another_with_hypotheses_on_the_way(system):
    with system.client("gru") as client:
        events = list(client.generate(f"{PARAGRAPH} We were glad.", chunks=3))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds.count("chunk") == 3
    assert kinds[-1] == "complete"
    hypotheses = [event.hypothesis for event in events if event.HasField("hypothesis")]
    assert {formed.chunk for formed in hypotheses} == {0, 1, 2}
    chunks = [event.chunk for event in events if event.HasField("chunk")]
    assert [chunk.index for chunk in chunks] == [0, 1, 2]
    assert [chunk.text for chunk in events[-1].complete.chunks] == [chunk.text for chunk in chunks]


def test_one_word_is_enough_and_the_answer_says_what_filled_the_context(system):
    with system.client("lstm") as client:
        response = client.complete("Rain").response
    assert response.chunks[0].text
    assert response.context.own == 1
    assert response.context.source != CONTEXT_SOURCE_SEQ
    assert len(response.context.texts) == 5


@pytest.mark.parametrize("name", [*(route.name for route in ROUTES), *(stage.name for stage in STAGES)])
def test_any_reflecting_client_finds_services_and_health(system, name):
    service = next((stage.service for stage in STAGES if stage.name == name), GATEWAY_SERVICE)
    with grpc.insecure_channel(system.address(name)) as channel:
        found = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert {service, "grpc.health.v1.Health"} <= set(found)
        health = health_pb2_grpc.HealthStub(channel)
        for asked in ("", service):
            answer = health.Check(health_pb2.HealthCheckRequest(service=asked), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
