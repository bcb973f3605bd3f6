"""SnapService over a real connection."""

import numpy as np
import pytest

from nextvec.errors import FailedPrecondition, InvalidInput, NextvecError, NotFound, WrongSpace
from nextvec.stream import ask, exchange, raise_for_item
from nextvec.v1.snap_pb2 import ProjectRequest, SearchRequest
from nextvec.vectors import from_block, to_block
from services.snap.engine import ProjectItem, SnapEngine
from tests.services.snap.conftest import SPACE


def project(bank, **changes):
    context = bank.raw(range(20, 25))
    fields = {
        "vector": to_block(context.mean(0), SPACE),
        "context": to_block(context, SPACE),
        **changes,
    }
    return ProjectRequest(request_id="a", **fields)


async def test_the_answer_is_the_engines(serving, bank):
    context = bank.raw(range(20, 25))
    expected = SnapEngine(bank).project(ProjectItem(context.mean(0), context[-1], context))
    async with serving() as stub:
        result = (await ask(stub.Project, project(bank), stage="snap")).result
    np.testing.assert_allclose(from_block(result.vector, "vector"), expected.projection.vector, rtol=1e-5)
    assert [n.id for n in result.neighbours] == [n.entry.id for n in expected.neighbours]
    assert result.neighbours[0].text == bank.entry(result.neighbours[0].id).text
    assert result.weights.snap + result.weights.query + result.weights.context == pytest.approx(1)
    assert result.clamp_fired == expected.projection.clamp_fired
    assert result.policy == "barycentre"
    assert result.bank_id == bank.record.id
    assert result.vector.space == SPACE
    assert result.cos_vector == pytest.approx(expected.cos_vector, abs=1e-6)
    rows = [n.id for n in result.neighbours]
    np.testing.assert_array_equal(from_block(result.neighbour_vectors, "neighbours"), bank.raw(rows))


async def test_the_query_defaults_to_the_last_context_vector(serving, bank):
    last, first = (to_block(bank.raw([row])[0], SPACE) for row in (24, 20))
    async with serving() as stub:
        default, same, other = [
            (await ask(stub.Project, request, stage="snap")).result
            for request in (project(bank), project(bank, query=last), project(bank, query=first))
        ]
    assert default.vector.data == same.vector.data != other.vector.data


async def test_a_drifting_vector_is_clamped_and_the_answer_says_so(serving, bank):
    away = to_block(bank.raw([50])[0], SPACE)
    async with serving() as stub:
        result = (await ask(stub.Project, project(bank, vector=away, k=5), stage="snap")).result
    assert result.clamp_fired
    assert result.weights.snap == pytest.approx(0.60)
    assert result.weights.query == pytest.approx(0.25)
    assert result.weights.context == pytest.approx(0.15)


async def test_policy_neighbours_and_exclusions_are_the_callers(serving, bank):
    request = project(bank, policy="medoid", k=3, exclude_ids=[20, 21], exclude_cosine=0.98)
    async with serving() as stub:
        result = (await ask(stub.Project, request, stage="snap")).result
    assert result.policy == "medoid"
    assert len(result.neighbours) == 3
    assert not {n.id for n in result.neighbours} & set(range(20, 25))
    np.testing.assert_array_equal(from_block(result.vector, "v"), bank.raw([result.neighbours[0].id])[0])


async def test_a_search_gives_texts_vectors_and_the_preceding_chunks(serving, bank):
    request = SearchRequest(query=to_block(bank.raw([27])[0], SPACE), k=4, preceding=2)
    async with serving() as stub:
        result = (await ask(stub.Search, request, stage="snap")).result
    assert result.neighbours[0].text == "Chunk 7 of document 2."
    assert result.neighbours[0].cosine == pytest.approx(1, abs=1e-3)
    assert list(result.neighbour_vectors.shape) == [4, 768]
    assert [n.position for n in result.preceding] == [5, 6]
    np.testing.assert_array_equal(from_block(result.preceding_vectors, "p"), bank.raw([25, 26]))
    assert result.neighbour_vectors.space == SPACE


async def test_a_first_chunk_has_no_preceding_vectors(serving, bank):
    request = SearchRequest(query=to_block(bank.raw([20])[0], SPACE), preceding=5)
    async with serving() as stub:
        result = (await ask(stub.Search, request, stage="snap")).result
    assert not result.preceding
    assert not result.HasField("preceding_vectors")


def spoiled(value):
    vector = np.ones(768, dtype=np.float32)
    vector[3] = value
    return to_block(vector, SPACE)


BAD = {
    "wrong dimension": ({"vector": to_block(np.ones(512), SPACE)}, InvalidInput, "must be 768"),
    "two vectors": ({"vector": to_block(np.ones((2, 768)), SPACE)}, InvalidInput, "1 axes"),
    "not a number": ({"vector": spoiled(np.nan)}, InvalidInput, "vector row 0 has nan at 3"),
    "infinite query": ({"query": spoiled(np.inf)}, InvalidInput, "query row 0 has inf"),
    "zero vector": ({"vector": to_block(np.zeros(768), SPACE)}, InvalidInput, "all zeros"),
    "flat context": ({"context": to_block(np.ones(768), SPACE)}, InvalidInput, "context.shape"),
    "zero in the context": (
        {"context": to_block(np.diag([1.0, 0.0]) @ np.ones((2, 768)), SPACE)},
        InvalidInput,
        "context row 1 is all zeros",
    ),
    "no context": ({"context": None}, WrongSpace, "context.space is not set"),
    "long context": ({"context": to_block(np.ones((1025, 768)), SPACE)}, InvalidInput, "at most 1024"),
    "another space": ({"vector": to_block(np.ones(768), "gtr-1")}, WrongSpace, f"'gtr-1'.*'{SPACE}'"),
    "unknown policy": ({"policy": "median"}, NotFound, "have barycentre, medoid"),
    "too many neighbours": ({"k": 257}, InvalidInput, "k is 257; must be at most 256"),
    "too many exclusions": ({"exclude_ids": range(4097)}, InvalidInput, "4097"),
    "no cosine": ({"exclude_cosine": np.nan}, InvalidInput, "exclude_cosine is nan"),
    "everything excluded": ({"exclude_cosine": -1}, FailedPrecondition, "exclude less"),
}


@pytest.mark.parametrize(("changes", "error", "message"), BAD.values(), ids=BAD)
async def test_a_bad_item_fails_alone_with_its_own_error(serving, bank, changes, error, message):
    requests = [project(bank), project(bank, **changes), project(bank)]
    for request, request_id in zip(requests, ("before", "bad", "after"), strict=True):
        request.request_id = request_id
    outcomes = {}
    async with serving() as stub:
        async for response in exchange(stub.Project, requests, stage="snap"):
            try:
                outcomes[response.request_id] = raise_for_item(response)
            except NextvecError as caught:
                outcomes[response.request_id] = caught
    assert type(outcomes["bad"]) is error
    with pytest.raises(error, match=message):
        raise outcomes["bad"]
    assert outcomes["before"].HasField("result")
    assert outcomes["after"].HasField("result")


async def test_a_search_refuses_too_many_preceding_chunks(serving, bank):
    request = SearchRequest(query=to_block(bank.raw([27])[0], SPACE), preceding=65)
    async with serving() as stub:
        with pytest.raises(InvalidInput, match="preceding is 65; must be at most 64"):
            await ask(stub.Search, request, stage="snap")


async def test_fifty_projections_on_one_stream_are_all_answered(serving, bank):
    requests = [project(bank, vector=to_block(bank.raw([i])[0], SPACE), policy="medoid") for i in range(50)]
    for i, request in enumerate(requests):
        request.request_id = str(i)
    async with serving() as stub:
        async for response in exchange(stub.Project, requests, stage="snap"):
            assert raise_for_item(response).result.neighbours[0].id == int(response.request_id)
