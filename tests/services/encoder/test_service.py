"""EncoderService over a real connection."""

import asyncio
import threading
import time

import numpy as np
import pytest

from nextvec.errors import InvalidInput, QueueFull
from nextvec.stream import ask, exchange, raise_for_item
from nextvec.v1.encoder_pb2 import EncodeRequest
from nextvec.vectors import from_block

TEXTS = ["The ferry crosses the bay.", "Salt.", "Bees dance in the meadow, and the others follow."]


async def encode(stub, *texts):
    return (await ask(stub.Encode, EncodeRequest(request_id="a", texts=texts), stage="encoder")).result


async def test_the_answer_is_what_the_engine_computes(serving, engine, family):
    [wanted] = engine.encode([engine.token_ids(TEXTS)])
    async with serving() as stub:
        result = await encode(stub, *TEXTS)
    assert result.vectors.space == family.space
    np.testing.assert_allclose(from_block(result.vectors, "vectors"), wanted, atol=1e-5)
    assert list(result.token_counts) == [len(ids) for ids in engine.token_ids(TEXTS)]
    assert result.timing.compute_ms > 0
    assert result.model_id.startswith("mini/encoder-")


async def test_requests_that_arrive_together_share_a_pass(serving, engine, monkeypatch):
    sizes = []
    encode_together = engine.encode
    monkeypatch.setattr(
        engine, "encode", lambda requests: sizes.append(len(requests)) or encode_together(requests)
    )
    requests = [EncodeRequest(request_id=str(i), texts=[f"Sentence number {i}."]) for i in range(16)]
    async with serving(max_wait_ms=100) as stub:
        answers = [raise_for_item(r) async for r in exchange(stub.Encode, requests, stage="encoder")]
    assert len(answers) == 16
    assert len(sizes) < 4


async def test_texts_encoded_before_come_from_the_cache(serving, engine, monkeypatch):
    async with serving() as stub:
        first = await encode(stub, *TEXTS)
        monkeypatch.setattr(engine, "encode", None)
        second = await encode(stub, *reversed(TEXTS))
    assert second.timing.compute_ms == 0
    vectors = [from_block(r.vectors, "vectors") for r in (first, second)]
    np.testing.assert_array_equal(vectors[0], vectors[1][::-1])
    assert list(second.token_counts) == list(first.token_counts)[::-1]


async def test_only_new_texts_are_computed(serving, engine, monkeypatch):
    computed = []
    encode_together = engine.encode
    monkeypatch.setattr(
        engine, "encode", lambda requests: computed.extend(requests) or encode_together(requests)
    )
    async with serving() as stub:
        await encode(stub, TEXTS[0], TEXTS[1])
        result = await encode(stub, TEXTS[1], TEXTS[2], TEXTS[0])
    assert [len(request) for request in computed] == [2, 1]
    [wanted] = encode_together([engine.token_ids([TEXTS[1], TEXTS[2], TEXTS[0]])])
    np.testing.assert_allclose(from_block(result.vectors, "vectors"), wanted, atol=1e-5)


async def test_redis_carries_vectors_from_one_server_to_the_next(serving, engine, monkeypatch, redis_process):
    async with serving(redis_url=redis_process.url) as stub:
        first = await encode(stub, *TEXTS)
    async with serving(redis_url=redis_process.url) as stub:
        monkeypatch.setattr(engine, "encode", None)
        second = await encode(stub, *TEXTS)
    assert first.vectors == second.vectors


async def test_redis_down_fails_nothing(serving, redis_process):
    async with serving(redis_url=redis_process.url) as stub:
        redis_process.stop()
        assert (await encode(stub, *TEXTS)).vectors.shape == [3, 768]


LONG = " ".join(["ferry"] * 31)

BAD = {
    "no text": ([], "texts has 0 entries; must have 1 to 1024"),
    "too many": (["a"] * 1025, "texts has 1025 entries"),
    "an empty text": (["a", ""], r"texts\[1\] is empty"),
    "only blanks": ([" \n\t "], r"texts\[0\] is empty"),
    "a token too many": (["a", LONG], r"texts\[1\] has 33 tokens; must have at most 32.*chunks"),
    "ten megabytes": (["a" * 10_000_000], "10000000 characters.*32 tokens"),
    "a control character": (["a\x00b"], r"texts\[0\] has the control character U\+0000 at 1"),
    "another one": (["a\x9bb"], r"U\+009B"),
}


@pytest.mark.parametrize("fault", BAD)
async def test_bad_input_is_refused_and_disturbs_no_other_item(serving, fault):
    texts, message = BAD[fault]
    requests = [EncodeRequest(request_id="bad", texts=texts), EncodeRequest(request_id="good", texts=TEXTS)]
    async with serving() as stub:
        responses = {r.request_id: r async for r in exchange(stub.Encode, requests, stage="encoder")}
    assert responses["good"].result.vectors.shape == [3, 768]
    with pytest.raises(InvalidInput, match=message):
        raise_for_item(responses["bad"])


async def test_a_text_at_the_limit_is_taken(serving):
    async with serving() as stub:
        result = await encode(stub, " ".join(["ferry"] * 30))
    assert list(result.token_counts) == [32]


async def test_a_full_queue_refuses_with_a_delay(serving, engine, monkeypatch):
    slow = engine.encode

    def slowly(requests):
        time.sleep(0.3)
        return slow(requests)

    monkeypatch.setattr(engine, "encode", slowly)
    requests = [EncodeRequest(request_id=str(i), texts=[f"Text {i}"]) for i in range(12)]
    async with serving(queue_limit=2, max_batch=1, max_wait_ms=0) as stub:
        responses = [r async for r in exchange(stub.Encode, requests, stage="encoder")]
    refused = [r.error for r in responses if r.HasField("error")]
    assert refused
    assert all(error.retry_delay_ms > 0 for error in refused)
    with pytest.raises(QueueFull):
        raise_for_item(next(r for r in responses if r.HasField("error")))
    assert any(r.HasField("result") for r in responses)


async def test_a_long_item_goes_in_parts_between_which_short_ones_are_computed(serving, engine, monkeypatch):
    encode_together, go, parts = engine.encode, threading.Semaphore(0), []

    def gated(requests):
        parts.append([len(tokens) for tokens in requests])
        go.acquire()
        return encode_together(requests)

    monkeypatch.setattr(engine, "encode", gated)
    texts = [f"Sentence number {number}{' and more' * (number % 3)}." for number in range(10)]
    async with serving(max_batch=2) as stub:
        long = asyncio.create_task(encode(stub, *texts))
        short = asyncio.create_task(encode(stub, "Salt."))
        go.release(4)  # of the long item's five parts and the short one
        await asyncio.wait_for(short, 60)
        assert not long.done()
        go.release(2)
        result = await long
    assert max(sum(sizes) for sizes in parts) <= 2
    [wanted] = encode_together([engine.token_ids(texts)])
    np.testing.assert_allclose(from_block(result.vectors, "vectors"), wanted, atol=1e-5)
    assert list(result.token_counts) == [len(ids) for ids in engine.token_ids(texts)]


async def test_many_clients_at_once_get_their_own_vectors(serving, engine):
    texts = [f"Number {i} of the tides." for i in range(20)]
    [wanted] = engine.encode([engine.token_ids(texts)])
    async with serving() as stub:
        results = await asyncio.gather(*(encode(stub, text) for text in texts))
    for result, vector in zip(results, wanted, strict=True):
        np.testing.assert_allclose(from_block(result.vectors, "vectors")[0], vector, atol=1e-5)
