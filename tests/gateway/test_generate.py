"""GatewayService.Generate over real sockets."""

import asyncio

import pytest

from nextvec.v1.gateway_pb2 import GenerateRequest
from nextvec.v1.vectors_pb2 import (
    ERROR_CODE_INVALID_ARGUMENT,
    ERROR_CODE_NOT_FOUND,
    ERROR_CODE_UNAVAILABLE,
)
from tests.gateway.conftest import FIVE, PATIENT, item


def told(response):
    """One event in short: what happened, in which chunk."""
    kind = response.WhichOneof("event")
    if kind == "stage_finished":
        return response.stage_finished.timing.stage, response.stage_finished.chunk
    if kind == "hypothesis":
        return f"step {response.hypothesis.hypothesis.step}", response.hypothesis.chunk
    return (kind, response.chunk.index) if kind == "chunk" else kind


async def test_events_come_as_they_happen_and_in_order(serving):
    async with serving() as system:
        responses = await system.generate(item("a", hypotheses=True, max_chunks=2))
        one = [*[(stage, 0) for stage in ("encoder", "lvm", "snap", "step 0", "step 1", "decoder", "chunk")]]
        two = [(what, 1) for what, _ in one]
        assert [told(response) for response in responses] == [*one, *two, "complete"]
        assert {response.request_id for response in responses} == {"a"}
        complete = responses[-1].complete
        assert complete.request_id == "a"
        assert list(complete.chunks) == [r.chunk for r in responses if r.HasField("chunk")]
        assert list(complete.timings) == [
            r.stage_finished.timing for r in responses if r.HasField("stage_finished")
        ]


async def test_the_stream_ends_with_what_the_unary_call_returns(serving):
    async with serving() as system:
        unary = await system.complete(request_id="a", bypass_cache=True)
        streamed = (await system.generate(item("a", bypass_cache=True)))[-1].complete
        for response in (unary, streamed):
            response.ClearField("total_ms")
            response.ClearField("timings")
            for chunk in response.chunks:
                chunk.ClearField("timings")
        assert streamed == unary


async def test_hypotheses_come_only_where_asked_for(serving):
    async with serving() as system:
        responses = await system.generate(item("a"))
        assert not any(response.HasField("hypothesis") for response in responses)


async def test_an_event_is_sent_before_the_next_stage_answers(serving):
    async with serving() as system:
        may_decode = asyncio.Event()
        system.decoder.before = lambda request: may_decode.wait()
        call = system.stub().Generate(iter([item("a")]))
        seen = [told(await anext(aiter(call))) for _ in range(3)]
        assert seen == [("encoder", 0), ("lvm", 0), ("snap", 0)]
        may_decode.set()
        assert [told(response) async for response in call][-1] == "complete"


async def test_one_bad_item_disturbs_no_other(serving):
    async with serving() as system:
        responses = await system.generate(
            item("good"),
            item("empty", paragraph=""),
            item("lost", route="os"),
            item("other port", route="gru"),
            item("also good", paragraph="Rain"),
            item("control", messages=["\x07"]),
        )
        last = {response.request_id: response for response in responses}
        assert last["good"].complete.chunks[0].text
        assert last["also good"].complete.chunks[0].text
        assert last["empty"].error.code == ERROR_CODE_INVALID_ARGUMENT
        assert last["lost"].error.code == ERROR_CODE_NOT_FOUND
        assert last["other port"].error.code == ERROR_CODE_INVALID_ARGUMENT
        assert "U+0007" in last["control"].error.message
        assert system.sample("completions_total", route="amn", code="OK") == 2
        assert system.sample("completions_total", route="amn", code="INVALID_ARGUMENT") == 3


async def test_a_message_that_is_not_utf8_fails_alone(serving):
    async with serving() as system:
        raw = system.channel().stream_stream("/nextvec.v1.GatewayService/Generate")
        good = item("good").SerializeToString()
        # Field 2 (request), in it field 3 (paragraph), two bytes that are not UTF-8.
        bad = b"\x12\x04\x1a\x02\xff\xfe"
        answers = [answer async for answer in raw(iter([bad, good]))]
        assert any(b"strings in UTF-8" in answer for answer in answers)
        assert any(b"decoded" in answer for answer in answers)


async def test_many_items_share_one_stream(serving):
    async with serving(**PATIENT) as system:
        ids = [str(number) for number in range(60)]
        responses = await system.generate(*(item(rid, messages=[*FIVE, f"Item {rid}."]) for rid in ids))
        done = {r.request_id: r.complete for r in responses if r.HasField("complete")}
        assert sorted(done, key=int) == ids
        assert len({complete.chunks[0].text for complete in done.values()}) == 60


async def test_an_item_without_a_request_is_refused(serving):
    async with serving() as system:
        (response,) = await system.generate(GenerateRequest(request_id="a"))
        assert "both empty" in response.error.message


async def test_a_stage_that_is_down_fails_the_item_and_not_the_stream(serving):
    async with serving(down=["lvm"]) as system:
        responses = await system.generate(item("a"), item("b"))
        failed = {r.request_id: r.error.code for r in responses if r.HasField("error")}
        assert failed == {"a": ERROR_CODE_UNAVAILABLE, "b": ERROR_CODE_UNAVAILABLE}


@pytest.mark.parametrize("stage", ["encoder", "lvm", "snap", "decoder"])
async def test_a_client_that_cancels_stops_the_stage_at_work(serving, stage):
    async with serving(lvm_seconds=9, snap_seconds=9, decode_seconds=9, budget_seconds=9) as system:
        toy = getattr(system, stage)
        toy.before = lambda request: asyncio.sleep(30)
        unary = asyncio.create_task(system.complete())
        streamed = asyncio.create_task(system.generate(item("a")))
        await system.until(lambda: len(toy.requests) == 2)
        for call in (unary, streamed):
            toy.cancelled.clear()
            call.cancel()
            await asyncio.wait_for(toy.cancelled.wait(), 2)
        # And no later stage was asked.
        order = [system.encoder, system.lvm, system.snap, system.decoder]
        assert not any(later.requests for later in order[order.index(toy) + 1 :])
        await system.until(lambda: system.sample("completions_total", route="amn", code="CANCELLED") == 2)
