"""DecoderService over a real connection, with a real engine, and with a real Redis that comes and goes."""

import asyncio
import time

import numpy as np
import pytest
import redis

from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, InvalidInput, NextvecError, WrongSpace
from nextvec.stream import ask, exchange, raise_for_item
from nextvec.v1.decoder_pb2 import DecodeRequest
from nextvec.vectors import to_block
from tests.services.decoder.toys import SENTENCES


@pytest.fixture
def request_of(family, vectors):
    """`request_of(row, ...)`: a request for a vector of the toy family."""

    def build(row=0, request_id="a", vector=None, space=family.space, **fields):
        vector = vectors[row].numpy() if vector is None else vector
        return DecodeRequest(request_id=request_id, vector=to_block(vector, space), **fields)

    return build


async def decode(stub, request):
    return (await ask(stub.Decode, request, stage="decoder")).result


async def test_the_last_hypothesis_is_the_engines(serving, request_of, engine, vectors):
    [walk] = engine.run(vectors[:1], 3)
    async with serving() as stub:
        result = await decode(stub, request_of(rungs=[3], skip_checks=True))
    assert [(h.step, h.text) for h in result.hypotheses] == [(h.step, h.text) for h in walk.hypotheses]
    assert result.text == walk.best.text
    assert (result.rung, result.steps) == (3, walk.best.step)
    assert result.cosine == pytest.approx(walk.best.cosine, abs=1e-5)
    assert result.model_id.startswith("toy/native-")
    assert result.timing.compute_ms > 0


async def test_hypotheses_come_before_the_result_where_asked_for(serving, request_of):
    async with serving() as stub:
        request = request_of(rungs=[2], skip_checks=True, stream_hypotheses=True)
        events = [event async for event in exchange(stub.Decode, [request], stage="decoder")]
    kinds = [event.WhichOneof("outcome") for event in events]
    assert kinds == ["hypothesis"] * (len(events) - 1) + ["result"]
    assert [event.hypothesis.step for event in events[:-1]] == list(range(len(events) - 1))
    assert [event.hypothesis for event in events[:-1]] == list(events[-1].result.hypotheses)


async def test_the_second_request_is_a_hit_under_a_millisecond(serving, request_of):
    async with serving() as stub:
        first = await decode(stub, request_of(skip_checks=True))
        second = await decode(stub, request_of(skip_checks=True))
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert (second.text, second.steps, second.cosine) == (first.text, first.steps, first.cosine)
    assert second.timing.compute_ms < 1
    assert not second.hypotheses


async def test_a_quotation_is_marked(serving, request_of, family, engine):
    candidates = SENTENCES[:3]
    block = to_block(engine.embed(candidates).numpy(), family.space)
    async with serving() as stub:
        source = "Nothing of this is ever in a text: xylophone."
        result = await decode(
            stub, request_of(1, source=source, candidates=candidates, candidate_vectors=block)
        )
    assert result.extractive
    assert result.text == candidates[1], "its vector is the one that was decoded, but for noise"
    assert [report.rung for report in result.rungs] == [1, 3, 5][: len(result.rungs)]
    names = {check.name for report in result.rungs for check in report.checks}
    assert names >= {"character_entropy", "source_overlap"}


async def test_one_stream_carries_many_vectors_in_shared_passes(serving, request_of, engine, vectors):
    wanted = engine.run(vectors, 1)
    requests = [request_of(row, str(row), rungs=[1], skip_checks=True) for row in range(len(vectors))]
    async with serving() as stub:
        responses = {
            r.request_id: raise_for_item(r).result async for r in exchange(stub.Decode, requests, stage="d")
        }
    assert {int(k): r.text for k, r in responses.items()} == {i: w.best.text for i, w in enumerate(wanted)}


def spoiled(value):
    vector = np.ones(768, np.float32)
    vector[7] = value
    return vector


BAD = {
    "wrong space": (lambda make: make(space="gtr-1"), WrongSpace, "'gtr-1'.*'toy-"),
    "no vector": (lambda make: DecodeRequest(request_id="a"), WrongSpace, "not set"),
    "wrong dimension": (lambda make: make(vector=np.ones(512)), InvalidInput, "last axis must be 768"),
    "two vectors": (lambda make: make(vector=np.ones((2, 768))), InvalidInput, "1 axes"),
    "not a number": (lambda make: make(vector=spoiled(np.nan)), InvalidInput, "must be finite"),
    "infinite": (lambda make: make(vector=spoiled(np.inf)), InvalidInput, "must be finite"),
    "zero": (lambda make: make(vector=np.zeros(768)), InvalidInput, "all zeros"),
    "falling rungs": (lambda make: make(rungs=[3, 1]), InvalidInput, r"\[3, 1\]; must rise, to at most 50"),
    "too many steps": (lambda make: make(rungs=[51]), InvalidInput, "must rise, to at most 50"),
    "too many rungs": (lambda make: make(rungs=list(range(9))), InvalidInput, "at most 8"),
    "a book for a source": (lambda make: make(source="a" * 100_001), InvalidInput, "at most 100000"),
    "too many candidates": (lambda make: make(candidates=["a"] * 257), InvalidInput, "at most 256"),
    "an empty candidate": (lambda make: make(candidates=["a", ""]), InvalidInput, r"candidates\[1\] has 0"),
    "candidates without all vectors": (
        lambda make: make(candidates=["a", "b"], candidate_vectors=to_block(np.ones((1, 768)), "toy")),
        WrongSpace,
        "candidate_vectors",
    ),
}


@pytest.mark.parametrize("fault", BAD)
async def test_bad_input_is_refused_and_disturbs_no_other_item(serving, request_of, fault):
    make, error, message = BAD[fault]
    good = request_of(2, "good", rungs=[0], skip_checks=True)
    async with serving() as stub:
        responses = {
            r.request_id: r async for r in exchange(stub.Decode, [make(request_of), good], stage="decoder")
        }
    assert responses["good"].result.model_id
    with pytest.raises(error, match=message) as refusal:
        raise_for_item(responses["a"])
    assert isinstance(refusal.value, NextvecError)


async def test_candidates_and_vectors_must_agree_in_number(serving, request_of, family):
    block = to_block(np.ones((1, 768)), family.space)
    async with serving() as stub:
        with pytest.raises(InvalidInput, match="1 rows; must have one for each of 2"):
            await decode(stub, request_of(candidates=["a", "b"], candidate_vectors=block))


@pytest.mark.parametrize("length", [1e-5, 1e5])
async def test_a_vector_far_off_the_manifold_is_decoded_all_the_same(serving, request_of, length):
    vector = np.random.default_rng(1).normal(0, length / 28, 768).astype(np.float32)
    async with serving() as stub:
        result = await decode(stub, request_of(vector=vector, rungs=[1], skip_checks=True))
    assert -1.0001 <= result.cosine <= 1.0001


async def test_a_deadline_ends_the_work(serving, request_of, engine):
    async with serving() as stub:
        request = request_of(3, rungs=[50], skip_checks=True, bypass_cache=True)
        with pytest.raises(DeadlineExceeded):
            await ask(stub.Decode, request, stage="decoder", deadline=Deadline.after(0.02))
        await decode(stub, request_of(4, rungs=[0], skip_checks=True))
        assert engine.free == engine.slots, "nothing of it is left in the engine"


async def test_a_client_that_goes_away_stops_its_work(serving, request_of, engine):
    async with serving() as stub:
        request = request_of(3, rungs=[50], skip_checks=True, bypass_cache=True, stream_hypotheses=True)
        answers = exchange(stub.Decode, [request], stage="decoder")
        await anext(answers)
        await answers.aclose()
        for _ in range(100):
            if engine.free == engine.slots:
                break
            await asyncio.sleep(0.02)
        assert engine.free == engine.slots


async def test_redis_carries_texts_from_one_server_to_the_next(serving, request_of, redis_process):
    async with serving(redis_url=redis_process.url) as stub:
        first = await decode(stub, request_of(skip_checks=True))
    async with serving(redis_url=redis_process.url) as stub:
        second = await decode(stub, request_of(skip_checks=True))
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert second.text == first.text


async def test_redis_down_from_the_start_means_slower_and_nothing_else(serving, request_of, redis_process):
    redis_process.stop()
    async with serving(redis_url=redis_process.url) as stub:
        first, second = [await decode(stub, request_of(skip_checks=True)) for _ in range(2)]
    assert (first.cache_hit, second.cache_hit) == (False, True)


async def test_redis_going_down_fails_no_request(serving, request_of, redis_process):
    async with serving(redis_url=redis_process.url) as stub:
        before = await decode(stub, request_of(0, skip_checks=True))
        redis_process.stop()
        others = [await decode(stub, request_of(row, skip_checks=True)) for row in (1, 2, 0)]
    assert others[-1].text == before.text
    assert others[-1].cache_hit


async def test_poisoned_entries_spoil_no_text_of_a_batch(serving, request_of, engine, vectors, redis_process):
    requests = [request_of(row, str(row), rungs=[1], skip_checks=True) for row in range(len(vectors))]

    async def texts():
        async with serving(redis_url=redis_process.url) as stub:
            responses = [r async for r in exchange(stub.Decode, requests, stage="decoder")]
        return {r.request_id: raise_for_item(r).result.text for r in responses}

    wanted = await texts()
    with redis.Redis(port=redis_process.port) as client:
        first, second, *others = sorted(client.keys("nextvec:decode:*"))
        client.set(first, b"garbage")
        client.set(second, client.get(others[0]))
    assert await texts() == wanted


async def test_a_redis_that_hangs_holds_no_batch_up(serving, request_of, vectors, redis_process):
    requests = [request_of(row, str(row), rungs=[1], skip_checks=True) for row in range(len(vectors))]
    async with serving(redis_url=redis_process.url, redis_timeout_ms=50) as stub:
        with redis.Redis(port=redis_process.port) as client:
            client.client_pause(120_000)
        started = time.monotonic()
        responses = [r async for r in exchange(stub.Decode, requests, stage="decoder")]
        assert all(raise_for_item(r).result.model_id for r in responses)
        assert len(responses) == len(vectors)
        assert time.monotonic() - started < 60, "Redis itself takes two minutes"
