"""The Python client, against a gateway without stages."""

import pytest

from nextvec.client import AsyncClient, Client
from nextvec.errors import InvalidInput, QueueFull, StageUnavailable


def test_a_text_is_continued(toy_gateway):
    with Client(toy_gateway.address) as client:
        completion = client.complete("One. Two.", chunks=2, route="amn", rungs=[1, 3])
    assert completion.text == "chunk 0 [of text] chunk 1 [of text]"
    assert [chunk.index for chunk in completion.chunks] == [0, 1]
    assert list(completion.degraded) == ["chunk 0: no bank"]
    request = toy_gateway.requests[0]
    assert (request.paragraph, request.max_chunks, list(request.rungs)) == ("One. Two.", 2, [1, 3])


def test_chunks_already_cut_are_sent_as_messages(toy_gateway):
    with Client(toy_gateway.address) as client:
        client.complete(["One.", "Two."])
    assert list(toy_gateway.requests[0].messages) == ["One.", "Two."]
    assert toy_gateway.requests[0].paragraph == ""


def test_events_come_as_they_happen(toy_gateway):
    with Client(toy_gateway.address) as client:
        kinds = [event.WhichOneof("event") for event in client.generate("One.", chunks=2)]
    assert kinds == ["hypothesis", "chunk", "hypothesis", "chunk", "complete"]


def test_errors_are_the_classes_that_the_server_raised(toy_gateway):
    toy_gateway.failure = QueueFull("full", retry_delay_ms=120)
    with Client(toy_gateway.address) as client:
        with pytest.raises(QueueFull, match="full") as raised:
            client.complete("One.")
        assert raised.value.retry_delay_ms == 120
        toy_gateway.failure = InvalidInput("paragraph is empty")
        with pytest.raises(InvalidInput, match="paragraph is empty"):
            list(client.generate("One."))


def test_nobody_there_is_said_with_the_remedy():
    with Client("127.0.0.1:1") as client, pytest.raises(StageUnavailable, match="nextvec up"):
        client.complete("One.")


async def test_the_async_client_does_the_same(toy_gateway):
    async with AsyncClient(toy_gateway.address) as client:
        assert (await client.complete("One.")).text == "chunk 0 [of text]"
        events = [event async for event in client.generate("One.", hypotheses=False)]
        assert events[-1].complete.route == "amn"
        assert [route.port for route in await client.routes()] == list(range(9001, 9007))
        toy_gateway.failure = InvalidInput("no")
        with pytest.raises(InvalidInput):
            await client.complete("One.")
