"""What the gateway does when a stage is down, late or wrong."""

import asyncio

import numpy as np
import pytest

from nextvec.errors import (
    FailedPrecondition,
    InternalError,
    QueueFull,
    StageUnavailable,
    WrongSpace,
)
from nextvec.v1.gateway_pb2 import CONTEXT_SOURCE_REPEAT_PAD
from nextvec.vectors import from_block, unit
from tests.gateway.conftest import FIVE
from tests.gateway.toys import embed, next_vector


def raising(error):
    async def before(request):
        raise error

    return before


async def hang(request):
    await asyncio.sleep(30)


@pytest.mark.parametrize("stage", ["encoder", "lvm"])
async def test_without_encoder_or_lvm_there_is_no_answer(serving, stage):
    async with serving(down=[stage]) as system:
        with pytest.raises(StageUnavailable, match=rf"the {stage} stage at \S+ cannot be reached"):
            await system.complete()
        # The client tries again by its own policy.
        assert system.sample("completions_total", route="amn", code="UNAVAILABLE") >= 1
        assert system.sample("stage_errors_total", stage=stage, kind="StageUnavailable") >= 1


async def test_direct_needs_neither_lvm_nor_snap(serving):
    async with serving(down=["lvm", "snap"]) as system:
        assert not (await system.complete(on="direct")).degraded


async def test_without_snap_the_raw_prediction_is_decoded_at_the_contexts_norm(serving):
    async with serving(down=["snap"]) as system:
        response = await system.complete()
        (line,) = response.degraded
        assert line.startswith("chunk 0: the snap stage at ")
        assert line.endswith("the raw prediction is decoded with a restored norm")
        context = np.stack([embed(text) for text in FIVE])
        vector = from_block(system.decoder.requests[0].vector, "vector")
        np.testing.assert_allclose(unit(vector), next_vector(context, "amn"), atol=1e-6)
        assert np.linalg.norm(vector) == pytest.approx(np.linalg.norm(context, axis=1).mean(), rel=1e-5)
        assert list(system.decoder.requests[0].candidates) == FIVE
        assert not response.chunks[0].HasField("snap")
        assert system.sample("degraded_total", stage="snap") == 1


async def test_without_snap_missing_context_is_repeated_and_both_losses_are_said(serving):
    async with serving(down=["snap"]) as system:
        response = await system.complete(messages=["It rained."])
        assert response.context.source == CONTEXT_SOURCE_REPEAT_PAD
        assert list(response.context.texts) == ["It rained."] * 5
        assert "missing context is repeated" in response.degraded[0]
        assert "the raw prediction is decoded" in response.degraded[1]


async def test_a_snap_stage_that_is_late_is_done_without(serving):
    async with serving() as system:
        system.snap.before = hang
        response = await system.complete()
        assert "did not answer within 0.2" in response.degraded[0]
        assert response.chunks[0].text


async def test_an_empty_bank_is_said_for_the_context_and_for_the_projection(serving):
    async with serving(bank=[]) as system:
        response = await system.complete(messages=["It rained."])
        assert "the bank has no text near; missing context is repeated" in response.degraded[0]
        assert "the exclusions leave none of the entries of the bank" in response.degraded[1]
        assert response.chunks[0].text


async def test_without_decoder_the_nearest_neighbour_is_quoted_and_marked(serving):
    async with serving(down=["decoder"]) as system:
        response = await system.complete()
        chunk = response.chunks[0]
        target = next_vector(np.stack([embed(text) for text in FIVE]), "amn")
        texts = ["Bank chunk zero.", "Bank chunk one."]
        cosines = [float(unit(embed(text)) @ target) for text in texts]
        assert chunk.extractive
        assert chunk.text == texts[int(np.argmax(cosines))]
        assert chunk.cosine == pytest.approx(max(cosines), abs=1e-5)
        assert chunk.steps == 0
        assert chunk.HasField("snap")
        (line,) = response.degraded
        assert line.startswith("chunk 0: the decoder stage at ")
        assert line.endswith("the nearest known text is quoted")
        assert system.sample("chunks_total", route="amn", origin="extractive") == 1


async def test_without_decoder_direct_quotes_the_text_itself(serving):
    async with serving(down=["decoder"]) as system:
        chunk = (await system.complete(on="direct")).chunks[0]
        assert (chunk.text, chunk.extractive) == (FIVE[-1], True)
        assert chunk.cosine == pytest.approx(1)


async def test_without_snap_and_decoder_the_context_is_the_last_resort(serving):
    async with serving(down=["snap", "decoder"]) as system:
        response = await system.complete()
        assert response.chunks[0].text in FIVE
        assert response.chunks[0].extractive
        assert len(response.degraded) == 2


async def test_a_decoder_that_is_late_is_quoted_for_within_the_clients_deadline(serving):
    async with serving() as system:
        system.decoder.before = hang
        response = await system.complete(timeout=1)
        assert response.chunks[0].extractive
        assert response.total_ms < 1000
        await asyncio.wait_for(system.decoder.cancelled.wait(), 10)


async def test_each_degraded_chunk_is_said(serving):
    async with serving(down=["decoder"]) as system:
        degraded = (await system.complete(max_chunks=2)).degraded
        assert [line[:8] for line in degraded] == ["chunk 0:", "chunk 1:"]


async def test_a_stage_that_comes_back_is_used_again(serving):
    async with serving() as system:
        port = system.decoder.server.port
        await system.decoder.server.drain()
        assert (await system.complete()).chunks[0].extractive
        await system.decoder.start(port)
        for _ in range(60):
            if not (await system.complete()).degraded:
                break
            await asyncio.sleep(0.1)
        assert not (await system.complete()).degraded


@pytest.mark.parametrize("stage", ["encoder", "lvm", "snap", "decoder"])
async def test_a_full_queue_is_passed_on_with_its_delay(serving, stage):
    async with serving() as system:
        getattr(system, stage).before = raising(QueueFull("the queue is full", 170))
        with pytest.raises(QueueFull, match="the queue is full") as caught:
            await system.complete()
        assert caught.value.retry_delay_ms == 170


@pytest.mark.parametrize("stage", ["encoder", "lvm", "snap", "decoder"])
async def test_chunks_that_are_done_outlive_a_full_queue(serving, stage):
    async with serving() as system:
        calls = []

        async def full_from_the_second_chunk_on(request):
            calls.append(request)
            if len(calls) > 1:
                raise QueueFull("the queue is full", 170)

        getattr(system, stage).before = full_from_the_second_chunk_on
        response = await system.complete(max_chunks=3)
        assert len(response.chunks) == 1
        assert "the queue is full; the chunks before this one are all there are" in response.degraded[-1]


@pytest.mark.parametrize("stage", ["lvm", "snap", "decoder"])
async def test_a_wrong_space_is_never_degraded_away(serving, stage):
    async with serving() as system:
        getattr(system, stage).before = raising(WrongSpace("context.space is 'a'; this stage works in 'b'"))
        with pytest.raises(WrongSpace, match="this stage works in 'b'"):
            await system.complete()


async def test_an_encoder_of_another_family_is_refused_naming_both_spaces(serving):
    async with serving() as system:
        system.encoder.space = "other-2"
        with pytest.raises(WrongSpace, match=r"'other-2'.*'toy-1'"):
            await system.complete()


@pytest.mark.parametrize("stage", ["snap", "decoder"])
async def test_a_stage_that_cannot_work_is_done_without(serving, stage):
    async with serving() as system:
        getattr(system, stage).before = raising(FailedPrecondition("there is nothing to work with"))
        assert "there is nothing to work with" in (await system.complete()).degraded[0]


async def test_a_bug_in_a_stage_is_internal_with_the_stages_id(serving):
    async with serving() as system:
        system.snap.before = raising(ZeroDivisionError())
        with pytest.raises(InternalError, match="internal error") as caught:
            await system.complete()
        assert caught.value.error_id


async def test_a_prediction_that_is_not_finite_is_a_bug_and_not_the_callers_fault(serving):
    async with serving() as system:
        system.lvm.scale = float("nan")
        with pytest.raises(InternalError) as caught:
            await system.complete()
        assert caught.value.error_id
        assert "nan" not in caught.value.message


async def test_chunks_that_are_done_are_answered_where_a_later_one_cannot_be_made(serving):
    async with serving() as system:
        asked = 0

        async def down_from_the_second_chunk_on(request):
            nonlocal asked
            asked += 1
            if asked > 1:
                raise StageUnavailable("the lvm stage is draining")

        system.lvm.before = down_from_the_second_chunk_on
        response = await system.complete(max_chunks=3)
        assert len(response.chunks) == 1
        (line,) = response.degraded
        assert line.startswith("chunk 1: ")
        assert line.endswith("the chunks before this one are all there are")
