"""GatewayService.Complete over real sockets."""

import asyncio

import numpy as np
import pytest

from nextvec.errors import DeadlineExceeded, NotFound, QueueFull
from nextvec.routes import ROUTES
from nextvec.v1.gateway_pb2 import (
    CONTEXT_SOURCE_ANN,
    CONTEXT_SOURCE_MIXED,
    CONTEXT_SOURCE_REPEAT_PAD,
    CONTEXT_SOURCE_SEQ,
)
from nextvec.vectors import from_block, unit
from tests.gateway.conftest import FIVE
from tests.gateway.toys import SPACE, embed, next_vector, read

ROUNDING = 0.02
"""Seconds by which gRPC's deadlines on the wire are rounded up."""

DOCUMENT = [f"Chunk {number} of the document." for number in range(8)]


def predicted(texts, route):
    """What a sequence of toy stages writes after five texts."""
    return read(28 * unit(next_vector(np.stack([embed(text) for text in texts[-5:]]), route)))


@pytest.mark.parametrize("route", [route.name for route in ROUTES if route.has_lvm])
async def test_each_port_answers_with_its_own_model(serving, route):
    async with serving() as system:
        response = await system.complete(on=route, request_id="mine")
        assert response.route == route
        assert response.request_id == "mine"
        assert [chunk.text for chunk in response.chunks] == [predicted(FIVE, route)]
        assert response.model_ids == {
            "encoder": "toy-encoder",
            "lvm": f"toy-{route}",
            "snap": "toy-bank",
            "decoder": "toy-decoder",
        }
        assert response.space == SPACE
        assert not response.degraded


async def test_direct_decodes_the_last_chunks_own_vector(serving):
    async with serving() as system:
        response = await system.complete(on="direct", messages=["Before.", "It rained."])
        assert response.chunks[0].text == read(embed("It rained."))
        assert not response.chunks[0].HasField("snap")
        assert list(response.context.texts) == ["It rained."]
        assert response.context.source == CONTEXT_SOURCE_SEQ
        assert not system.lvm.requests
        assert not system.snap.requests
        decode = system.decoder.requests[0]
        assert decode.source == "It rained."
        assert list(decode.candidates) == ["It rained."]


async def test_a_route_that_agrees_with_the_port_is_accepted(serving):
    async with serving() as system:
        assert (await system.complete(on="gru", route="gru")).route == "gru"


async def test_the_answer_says_what_each_stage_did_and_how_long_it_took(serving):
    async with serving() as system:
        response = await system.complete()
        chunk = response.chunks[0]
        assert (chunk.index, chunk.steps, chunk.rung, chunk.cosine) == (0, 1, 1, 0.75)
        assert chunk.snap.policy == "barycentre"
        assert [neighbour.document_id for neighbour in chunk.snap.neighbours] == ["0", "0"]
        assert chunk.rungs[0].passed
        assert [timing.stage for timing in chunk.timings] == ["encoder", "lvm", "snap", "decoder"]
        assert list(response.timings) == list(chunk.timings)
        for timing in response.timings:
            assert (timing.queue_ms, timing.compute_ms) == (1, 2)
            assert 0 < timing.total_ms <= response.total_ms
        assert system.sample("stage_seconds_count", stage="lvm", part="total") == 1
        assert system.sample("completions_total", route="amn", code="OK") == 1


async def test_a_request_without_an_id_is_given_one_which_every_stage_gets(serving):
    async with serving() as system:
        response = await system.complete()
        assert len(response.request_id) == 32
        stages = (system.encoder, system.lvm, system.snap, system.decoder)
        assert {stage.requests[0].request_id for stage in stages} == {response.request_id}


async def test_every_stage_call_is_a_stream_of_its_own(serving):
    async with serving() as system:
        await system.complete(max_chunks=3)
        assert system.encoder.streams == 3
        assert system.lvm.streams == system.snap.streams == system.decoder.streams == 3


async def test_five_or_more_own_chunks_are_the_context_in_order(serving):
    async with serving(bank=[DOCUMENT]) as system:
        response = await system.complete(messages=["Long ago.", *FIVE])
        assert response.context.source == CONTEXT_SOURCE_SEQ
        assert list(response.context.texts) == FIVE
        assert response.context.own == 5
        assert not system.snap.requests[0].exclude_ids


async def test_a_paragraph_is_cut_into_the_same_context(serving):
    async with serving() as system:
        response = await system.complete(paragraph=" ".join(FIVE))
        assert list(response.context.texts) == FIVE
        assert response.chunks[0].text == predicted(FIVE, "amn")


async def test_missing_context_comes_from_before_the_nearest_neighbour(serving):
    async with serving(bank=[DOCUMENT]) as system:
        response = await system.complete(messages=[DOCUMENT[5], "Then something else."])
        assert response.context.source == CONTEXT_SOURCE_MIXED
        assert list(response.context.texts) == [*DOCUMENT[2:6], "Then something else."]
        assert response.context.own == 2
        search, project = system.snap.requests
        assert search.preceding == 3
        np.testing.assert_array_equal(from_block(search.query, "query"), embed(DOCUMENT[5]))
        assert list(project.exclude_ids) == [2, 3, 4]
        assert project.exclude_cosine == pytest.approx(0.98)
        assert [timing.stage for timing in response.timings] == ["encoder", "snap", "lvm", "snap", "decoder"]


async def test_diverse_neighbours_fill_in_where_nothing_precedes(serving):
    async with serving(bank=[[f"Text number {n}."] for n in range(9)]) as system:
        response = await system.complete(paragraph="Rain")
        assert response.context.source == CONTEXT_SOURCE_ANN
        assert len(set(response.context.texts)) == 5
        assert response.context.own == 1
        assert not response.degraded
        assert system.sample("contexts_total", source="ann") == 1


async def test_a_bank_that_is_too_small_leads_to_repetition_and_the_answer_says_so(serving):
    async with serving(bank=[["The only text."]]) as system:
        response = await system.complete(messages=["It rained."])
        assert response.context.source == CONTEXT_SOURCE_REPEAT_PAD
        assert list(response.context.texts) == [*["The only text."] * 4, "It rained."]


async def test_several_chunks_slide_the_window_over_their_own_texts(serving):
    async with serving() as system:
        response = await system.complete(max_chunks=3)
        texts = [*FIVE]
        for index, chunk in enumerate(response.chunks):
            assert chunk.index == index
            assert chunk.text == predicted(texts, "amn")
            texts.append(chunk.text)
        assert [list(request.texts) for request in system.encoder.requests] == [FIVE, texts[5:6], texts[6:7]]
        assert list(response.context.texts) == FIVE


async def test_generating_on_is_the_same_as_sending_the_chunk_back(serving):
    async with serving() as system:
        both = await system.complete(max_chunks=2)
        first = await system.complete()
        second = await system.complete(messages=[*FIVE, first.chunks[0].text])
        assert [chunk.text for chunk in both.chunks] == [first.chunks[0].text, second.chunks[0].text]


async def test_checks_read_neighbours_and_context_and_quotes_come_from_neighbours(serving):
    async with serving() as system:
        await system.complete()
        decode = system.decoder.requests[0]
        assert set(decode.source.split("\n")) == {"Bank chunk zero.", "Bank chunk one.", *FIVE}
        assert set(decode.candidates) == {"Bank chunk zero.", "Bank chunk one."}
        vectors = from_block(decode.candidate_vectors, "candidates")
        np.testing.assert_array_equal(vectors, np.stack([embed(text) for text in decode.candidates]))


async def test_a_bank_without_texts_leaves_the_context_to_quote(serving):
    async with serving(bank=[[""]]) as system:
        await system.complete()
        decode = system.decoder.requests[0]
        assert list(decode.candidates) == FIVE
        assert decode.source == "\n".join(FIVE)


async def test_options_reach_the_stages(serving):
    async with serving() as system:
        await system.complete(snap_policy="medoid", rungs=[0, 2], bypass_cache=True)
        assert system.snap.requests[0].policy == "medoid"
        decode = system.decoder.requests[0]
        assert list(decode.rungs) == [0, 2]
        assert decode.bypass_cache
        assert not decode.stream_hypotheses
        with pytest.raises(NotFound, match="unknown policy 'x'; have barycentre, medoid"):
            await system.complete(snap_policy="x")


async def test_the_second_identical_request_reports_the_cache(serving):
    async with serving() as system:
        assert not (await system.complete()).chunks[0].cache_hit
        assert (await system.complete()).chunks[0].cache_hit
        assert not (await system.complete(bypass_cache=True)).chunks[0].cache_hit
        assert system.sample("chunks_total", route="amn", origin="cache") == 1


async def test_the_budget_is_split_over_the_stages_and_passed_down(serving):
    async with serving() as system:
        await system.complete()
        assert 1.5 < system.encoder.remaining[0] < 2 + ROUNDING
        assert 0.1 < system.lvm.remaining[0] < 0.2 + ROUNDING
        assert 0.1 < system.snap.remaining[0] < 0.2 + ROUNDING
        assert 1.5 < system.decoder.remaining[0] < 2 + ROUNDING


async def test_a_sooner_deadline_of_the_clients_is_passed_down(serving):
    async with serving() as system:
        await system.complete(timeout=1)
        assert 0.5 < system.encoder.remaining[0] < 1 + ROUNDING
        # What is kept back lets an answer without the decoder still arrive in time.
        assert 0.5 < system.decoder.remaining[0] < 0.95 + ROUNDING


async def test_the_budget_of_a_request_ends_with_the_gateways_own_error(serving):
    async def slow(request):
        await asyncio.sleep(10)

    async with serving(budget_seconds=0.3) as system:
        system.encoder.before = slow
        with pytest.raises(DeadlineExceeded, match=r"the encoder stage at \S+ did not answer within 0.3\d s"):
            await system.complete()
        assert system.sample("completions_total", route="amn", code="DEADLINE_EXCEEDED") == 1


async def test_the_budget_grows_with_the_chunks_asked_for(serving):
    async def slow(request):
        await asyncio.sleep(0.2)

    async with serving(budget_seconds=0.5) as system:
        system.decoder.before = slow
        assert len((await system.complete(max_chunks=3)).chunks) == 3


async def test_a_model_that_loads_at_first_use_is_given_the_time_that_is_left(serving):
    async with serving() as system:
        loading = asyncio.create_task(asyncio.sleep(0.5))
        system.lvm.before = lambda request: asyncio.shield(loading)
        assert not (await system.complete()).degraded
        assert [round(seconds, 1) for seconds in system.lvm.remaining] == [0.2, 0.6]


async def test_requests_beyond_the_limit_are_refused_with_a_delay_and_the_others_succeed(serving):
    may_go = asyncio.Event()

    async def wait(request):
        await may_go.wait()

    async with serving(max_in_flight=2) as system:
        system.encoder.before = wait
        others = [asyncio.create_task(system.complete()) for _ in range(2)]
        await system.until(lambda: len(system.encoder.requests) == 2)
        with pytest.raises(QueueFull, match="the gateway is full: 2 of 2 requests") as caught:
            await system.complete(timeout=1)
        assert caught.value.retry_delay_ms > 0
        may_go.set()
        assert all(response.chunks for response in await asyncio.gather(*others))
        assert (await system.complete()).chunks
