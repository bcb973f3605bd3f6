"""One trace over gateway and all stages, by one request id, without text."""

from tests.e2e.running import PARAGRAPH, eventually
from tests.observability.conftest import SECRET

STAGES = {"encoder", "lvm", "snap", "decoder"}


def attributes(span):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def served(observed, request_id):
    """(service, span) of the server spans that carry a request id."""
    return [
        (service, span)
        for service, span in observed.collector.spans()
        if attributes(span).get("nextvec.request_id") == request_id and span.kind == span.SPAN_KIND_SERVER
    ]


def test_gateway_and_all_stages_are_in_one_trace_that_says_what_they_did(observed):
    wanted = STAGES | {"gateway"}
    assert eventually(lambda: {service for service, _ in served(observed, "new-1")} == wanted, 60)
    found = served(observed, "new-1")
    assert len({span.trace_id for _, span in found}) == 1
    said = {service: attributes(span) for service, span in found}
    assert said["gateway"]["nextvec.route"] == "amn"
    assert said["gateway"]["nextvec.outcome"] == "OK"
    assert said["gateway"]["nextvec.decoder_model"] == said["decoder"]["nextvec.model"]
    assert said["lvm"]["nextvec.route"] == "amn"
    assert all(said[stage]["nextvec.model"] for stage in STAGES)
    assert said["decoder"]["nextvec.rung"] in (1, 3, 5)
    assert said["decoder"]["nextvec.cache_hit"] is False


def test_a_repeated_request_says_that_the_cache_had_it(observed):
    assert eventually(lambda: len(served(observed, "again-1")) >= 5, 60)
    said = {service: attributes(span) for service, span in served(observed, "again-1")}
    assert said["decoder"]["nextvec.cache_hit"] is True
    assert said["encoder"]["nextvec.cache_hits"] == 5


def test_an_item_of_a_stream_has_a_span_of_its_own(observed):
    def items():
        return [span for _, span in observed.collector.spans() if span.name == "GatewayService/Generate item"]

    assert eventually(items, 60)
    assert attributes(items()[0])["nextvec.outcome"] == "OK"


def test_no_span_holds_a_users_text(observed):
    assert eventually(lambda: served(observed, "direct-1"), 60)
    everything = b"".join(request.SerializeToString() for request in observed.collector.received)
    for text in (SECRET, PARAGRAPH, "Quillfeather", "zanzibarine"):
        assert text.encode() not in everything


def test_health_checks_are_not_traced(observed):
    assert not [span for _, span in observed.collector.spans() if "Health" in span.name]
