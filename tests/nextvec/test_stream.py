import asyncio

import grpc
import pytest

from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, InvalidInput, StageUnavailable
from nextvec.stream import ask, exchange, serve_items
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse, EncodeResult
from nextvec.v1.vectors_pb2 import ERROR_CODE_CANCELLED, ERROR_CODE_INTERNAL, ERROR_CODE_INVALID_ARGUMENT


async def answer(request):
    if request.texts and request.texts[0] == "bad":
        raise InvalidInput("texts[0] is 'bad'; must be good")
    if request.texts and request.texts[0] == "bug":
        raise ZeroDivisionError
    if request.texts and request.texts[0] == "gone":
        raise asyncio.CancelledError
    return EncodeResponse(result=EncodeResult(token_counts=[len(text) for text in request.texts]))


def requests(*texts):
    return [EncodeRequest(request_id=str(n), texts=[text]) for n, text in enumerate(texts)]


async def collect(toy, items):
    return {
        response.request_id: response async for response in exchange(toy.stub.Encode, items, stage="encoder")
    }


async def test_every_item_is_answered_under_its_id(serving):
    async with serving(answer) as toy:
        responses = await collect(toy, requests(*("x" * n for n in range(50))))
        assert {int(rid): response.result.token_counts[0] for rid, response in responses.items()} == {
            n: n for n in range(50)
        }


async def test_failed_items_do_not_disturb_the_others(serving):
    async with serving(answer) as toy:
        responses = await collect(toy, requests("a", "bad", "bug", "gone", "bbb"))
        assert responses["0"].result.token_counts == [1]
        assert responses["4"].result.token_counts == [3]
        assert responses["1"].error.code == ERROR_CODE_INVALID_ARGUMENT
        assert responses["1"].error.message == "texts[0] is 'bad'; must be good"
        assert responses["2"].error.code == ERROR_CODE_INTERNAL
        assert responses["2"].error.error_id
        assert responses["3"].error.code == ERROR_CODE_CANCELLED
        labels = {"method": "EncoderService/Encode", "kind": "InvalidInput"}
        assert toy.metrics.registry.get_sample_value("nextvec_item_errors_total", labels) == 1


async def test_a_message_that_cannot_be_read_fails_alone(serving):
    async with serving(answer) as toy:
        method = toy.channel.stream_stream(
            "/nextvec.v1.EncoderService/Encode", response_deserializer=EncodeResponse.FromString
        )
        good = EncodeRequest(request_id="good", texts=["abc"]).SerializeToString()
        invalid_utf8 = b"\x12\x02\xff\xfe"
        responses = [r async for r in exchange(method, [invalid_utf8, good], stage="encoder")]
        by_id = {response.request_id: response for response in responses}
        assert by_id["good"].result.token_counts == [3]
        assert by_id[""].error.code == ERROR_CODE_INVALID_ARGUMENT
        assert "UTF-8" in by_id[""].error.message


async def test_answers_come_as_they_are_ready(serving):
    first_may_end = asyncio.Event()

    async def slow_first(request):
        if request.request_id == "0":
            await first_may_end.wait()
        return await answer(request)

    async with serving(slow_first) as toy:
        order = []
        async for response in exchange(toy.stub.Encode, requests("a", "b"), stage="encoder"):
            order.append(response.request_id)
            first_may_end.set()
        assert order == ["1", "0"]


async def test_at_most_the_limit_is_in_flight(serving):
    running = most = 0

    async def count(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return await answer(request)

    async with serving(count) as toy:
        assert len(await collect(toy, requests(*"abcdefghijklmnop"))) == 16
    assert 1 < most <= 4


async def test_a_request_id_in_flight_or_too_long_is_refused(serving):
    async def slow(request):
        await asyncio.sleep(0.02)
        return await answer(request)

    async with serving(slow) as toy:
        items = [
            EncodeRequest(request_id="r"),
            EncodeRequest(request_id="r"),
            EncodeRequest(request_id="x" * 129),
        ]
        messages = [
            response.error.message async for response in exchange(toy.stub.Encode, items, stage="encoder")
        ]
    assert messages[2] == ""
    assert "request_id 'r' is in flight on this stream; must be unique" in messages[:2]
    assert "request_id has 129 characters; must have at most 128" in messages[:2]


async def test_items_are_cancelled_when_the_client_goes_away(serving):
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(request):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(stuck) as toy:
        asking = asyncio.create_task(ask(toy.stub.Encode, EncodeRequest(), stage="encoder"))
        await started.wait()
        asking.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_items_are_cancelled_when_the_deadline_passes(serving):
    cancelled = asyncio.Event()

    async def stuck(request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(stuck) as toy:
        with pytest.raises(DeadlineExceeded):
            await ask(toy.stub.Encode, EncodeRequest(), stage="encoder", deadline=Deadline.after(0.1))
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_the_item_error_is_raised_to_the_one_who_asked(serving):
    async with serving(answer) as toy:
        with pytest.raises(InvalidInput, match="must be good"):
            await ask(toy.stub.Encode, EncodeRequest(texts=["bad"]), stage="encoder")


async def test_a_stage_that_is_down_is_unavailable_by_name(serving):
    async with serving(answer) as toy:
        await toy.server.drain()
        with pytest.raises(StageUnavailable, match="encoder"):
            await ask(toy.stub.Encode, EncodeRequest(), stage="encoder", deadline=Deadline.after(5))


async def test_a_handler_may_answer_several_times():
    async def two(request):
        yield EncodeResponse()
        yield EncodeResponse(result=EncodeResult(model_id="m"))

    async def incoming():
        yield EncodeRequest(request_id="r")

    responses = [response async for response in serve_items(incoming(), two, EncodeResponse)]
    assert [response.request_id for response in responses] == ["r", "r"]
    assert responses[-1].result.model_id == "m"


async def test_a_handler_that_generates_has_ended_when_the_stream_is_closed():
    ended = []

    async def endless(request):
        try:
            while True:
                yield EncodeResponse()
        finally:
            await asyncio.sleep(0.01)
            ended.append(request.request_id)

    async def incoming():
        yield EncodeRequest(request_id="r")
        await asyncio.Event().wait()

    responses = serve_items(incoming(), endless, EncodeResponse, limit=1)
    await anext(responses)
    await responses.aclose()
    assert ended == ["r"]


async def test_a_stream_that_breaks_ends_with_its_error_and_cancels_the_items():
    async def incoming():
        yield EncodeRequest(request_id="r")
        await asyncio.sleep(0)
        raise grpc.RpcError

    cancelled = []

    async def stuck(request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request.request_id)
            raise

    with pytest.raises(grpc.RpcError):
        async for _ in serve_items(incoming(), stuck, EncodeResponse):
            pass
    assert cancelled == ["r"]
