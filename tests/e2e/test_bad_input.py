"""Bad input gets its status and a message that names cause and remedy; everything else goes on."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from nextvec.client import completion_request
from nextvec.v1 import decoder_pb2, encoder_pb2, lvm_pb2, snap_pb2
from nextvec.v1.decoder_pb2_grpc import DecoderServiceStub
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub
from nextvec.v1.gateway_pb2 import CompleteRequest, GenerateRequest
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub
from nextvec.v1.lvm_pb2_grpc import LvmServiceStub
from nextvec.v1.snap_pb2_grpc import SnapServiceStub
from nextvec.v1.vectors_pb2 import ErrorCode
from nextvec.vectors import to_block
from tests.e2e.running import PARAGRAPH

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_LARGE = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)

REQUESTS = {
    "nothing": (CompleteRequest(), "messages and paragraph"),
    "blank": (CompleteRequest(paragraph=" \n"), "blank"),
    "both forms": (CompleteRequest(paragraph="a", messages=["b"]), "set one of them"),
    "10 MB": (CompleteRequest(paragraph="word " * 2_000_000), "10,000,000 characters"),
    "a control character": (CompleteRequest(paragraph="one\x00two"), r"U\+0000 at 3"),
    "six hundred messages": (CompleteRequest(messages=["Rain."] * 600), "600"),
    "six hundred chunks": (CompleteRequest(paragraph="Rain.", max_chunks=600), "600"),
    "rungs that fall": (CompleteRequest(paragraph="Rain.", rungs=[3, 1]), "rise"),
    "a route of another port": (CompleteRequest(paragraph="Rain.", route="gru"), "gru"),
}


@pytest.fixture
def amn(system):
    """The gateway's stub on amn's port."""
    with grpc.insecure_channel(system.address("amn")) as channel:
        yield GatewayServiceStub(channel)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_bad_request_is_refused_with_the_field_named(amn, kind):
    request, message = REQUESTS[kind]
    with pytest.raises(grpc.RpcError, match=message) as raised:
        amn.Complete(request, timeout=30)
    assert raised.value.code() == INVALID


def test_an_unknown_route_is_not_found_and_the_known_ones_are_listed(amn):
    with pytest.raises(grpc.RpcError, match="have amn, transformer") as raised:
        amn.Complete(CompleteRequest(paragraph="Rain.", route="os"), timeout=30)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_unknown_snap_policy_is_not_found(amn):
    with pytest.raises(grpc.RpcError, match="medoid") as raised:
        amn.Complete(CompleteRequest(paragraph=PARAGRAPH, snap_policy="glue"), timeout=60)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_bytes_that_are_not_utf8_or_no_message_at_all_are_refused(system):
    with grpc.insecure_channel(system.address("amn")) as channel:
        call = channel.unary_unary("/nextvec.v1.GatewayService/Complete")
        for data in (b"\x1a\x02\xff\xfe", b"\xff\xff\xff\xff"):
            with pytest.raises(grpc.RpcError, match="cannot be read") as raised:
                call(data, timeout=30)
            assert raised.value.code() == INVALID


def test_a_message_over_the_size_limit_is_refused(amn):
    with pytest.raises(grpc.RpcError) as raised:
        amn.Complete(CompleteRequest(paragraph="word " * 10_000_000), timeout=60)
    assert raised.value.code() in TOO_LARGE


def test_bad_items_of_a_stream_do_not_disturb_the_good_ones(amn):
    items = [
        GenerateRequest(request_id="good", request=completion_request(f"{PARAGRAPH} It was over.")),
        GenerateRequest(request_id="bad", request=CompleteRequest()),
        GenerateRequest(request_id="also good", request=completion_request("The sun came out.")),
    ]
    ends = {}
    for event in amn.Generate(iter(items), timeout=60):
        kind = event.WhichOneof("event")
        if kind in ("complete", "error"):
            ends[event.request_id] = kind
            if kind == "error":
                assert event.error.code == ErrorCode.ERROR_CODE_INVALID_ARGUMENT
    assert ends == {"good": "complete", "bad": "error", "also good": "complete"}


def vectors_of(kind: str, space: str):
    """A context [5, 768] that is wrong in one way."""
    good = np.random.default_rng(3).standard_normal((5, 768), dtype=np.float32)
    if kind == "dimension":
        return to_block(good[:, :700], space)
    if kind == "space":
        return to_block(good, "other-0123456789ab")
    value = {"nan": np.nan, "infinite": np.inf, "zero": 0}[kind]
    good[2] = value
    return to_block(good, space)


VECTORS = {
    "dimension": (ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "the last axis must be 768"),
    "nan": (ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "must be finite"),
    "infinite": (ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "must be finite"),
    "zero": (ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "must have a direction"),
    "space": (ErrorCode.ERROR_CODE_FAILED_PRECONDITION, "other-0123456789ab"),
}


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("stage", ["lvm", "snap", "decoder"])
def test_a_bad_vector_is_refused_by_every_stage(system, stage, kind):
    with system.client("direct") as client:
        space = client.complete("Rain falls.").response.space
    good = to_block(np.ones(768, np.float32), space)
    block = vectors_of(kind, space)
    with grpc.insecure_channel(system.address(stage)) as channel:
        if stage == "lvm":
            request = lvm_pb2.PredictRequest(request_id="1", route="amn", context=block)
            responses = LvmServiceStub(channel).Predict(iter([request]), timeout=30)
        elif stage == "snap":
            request = snap_pb2.ProjectRequest(request_id="1", vector=good, context=block)
            responses = SnapServiceStub(channel).Project(iter([request]), timeout=30)
        else:
            row = 768 * 4 if kind != "dimension" else 700 * 4
            block = type(block)(
                data=block.data[2 * row : 3 * row],
                dtype=block.dtype,
                shape=block.shape[1:],
                space=block.space,
            )
            request = decoder_pb2.DecodeRequest(request_id="1", vector=block)
            responses = DecoderServiceStub(channel).Decode(iter([request]), timeout=30)
        (response,) = responses
    code, message = VECTORS[kind]
    assert response.error.code == code
    assert message in response.error.message


def test_a_text_over_the_token_limit_is_refused_by_the_encoder_and_not_cut(system):
    with grpc.insecure_channel(system.address("encoder")) as channel:
        request = encoder_pb2.EncodeRequest(request_id="1", texts=["short", "rain and wind " * 30])
        (response,) = EncoderServiceStub(channel).Encode(iter([request]), timeout=30)
    assert response.error.code == ErrorCode.ERROR_CODE_INVALID_ARGUMENT
    assert "texts[1]" in response.error.message
    assert "32" in response.error.message


def test_good_requests_are_answered_while_bad_ones_pour_in(system, amn):
    def bad(index):
        request = list(REQUESTS.values())[index % len(REQUESTS)][0]
        with pytest.raises(grpc.RpcError):
            amn.Complete(request, timeout=60)

    with ThreadPoolExecutor(8) as pool, system.client("direct") as client:
        flood = [pool.submit(bad, index) for index in range(40)]
        answers = [client.complete(f"The clock struck {hour}.").text for hour in range(1, 5)]
        for done in flood:
            done.result()
    assert all(answers)
    assert system.process.poll() is None
