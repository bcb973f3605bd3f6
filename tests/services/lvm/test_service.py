"""LvmService over a real connection."""

import asyncio

import numpy as np
import pytest

from nextvec.errors import FailedPrecondition, InvalidInput, NextvecError, UnknownRoute, WrongSpace
from nextvec.stream import ask, exchange, raise_for_item
from nextvec.v1.lvm_pb2 import ListModelsRequest, PredictRequest
from nextvec.vectors import from_block, to_block
from services.lvm import checkpoint
from services.lvm.registry import production, promote
from tests.services.lvm.toys import SPACE, save_toy


def request(vectors, route="amn", request_id="a", space=SPACE):
    return PredictRequest(request_id=request_id, route=route, context=to_block(vectors, space))


async def test_the_answer_is_what_the_model_predicts(serving, models, contexts):
    model, card = checkpoint.load(production(models, "lstm"))
    async with serving() as stub:
        response = await ask(stub.Predict, request(contexts, "lstm"), stage="lvm")
    result = response.result
    assert result.model_id == card.id
    assert result.prediction.space == SPACE
    assert result.timing.compute_ms > 0
    found = from_block(result.prediction, "prediction")
    np.testing.assert_allclose(found, checkpoint.predict(model, contexts), atol=1e-5)


async def test_one_context_without_a_batch_axis_gives_one_prediction(serving, contexts):
    async with serving() as stub:
        response = await ask(stub.Predict, request(contexts[0]), stage="lvm")
    assert list(response.result.prediction.shape) == [1, 768]


async def test_half_precision_contexts_are_read(serving, contexts):
    async with serving() as stub:
        whole = await ask(stub.Predict, request(contexts), stage="lvm")
        half = PredictRequest(route="amn", context=to_block(contexts, SPACE, "float16"))
        half = await ask(stub.Predict, half, stage="lvm")
    a, b = (from_block(r.result.prediction, "prediction") for r in (whole, half))
    np.testing.assert_allclose(a, b, atol=1e-3)


async def test_one_stream_carries_every_route_and_ids_match_the_answers(serving, models, contexts):
    routes = ("amn", "transformer", "gru", "lstm", "transformer-optimized")
    requests = [request(contexts[i % 6], route, f"{route} {i}") for i in range(6) for route in routes]
    async with serving() as stub:
        responses = {
            r.request_id: raise_for_item(r) async for r in exchange(stub.Predict, requests, stage="lvm")
        }
    assert len(responses) == 30
    for key, response in responses.items():
        route, index = key.rsplit(" ", 1)
        assert response.result.model_id.startswith(f"{route.replace('-', '_')}_2")
        model, _ = checkpoint.load(production(models, route))
        expected = checkpoint.predict(model, contexts[int(index)][None])
        np.testing.assert_allclose(from_block(response.result.prediction, "p"), expected, atol=1e-5)


def spoiled(contexts, value, row=2):
    vectors = contexts[0].copy()
    vectors[row, 7] = value
    return request(vectors)


BAD = {
    "wrong dimension": (lambda c: request(c[0][:, :512]), InvalidInput, "last axis must be 768"),
    "four vectors": (lambda c: request(c[0][:4]), InvalidInput, "last axis but one must be 5"),
    "one vector": (lambda c: request(c[0][0]), InvalidInput, "2 or 3 axes"),
    "four axes": (lambda c: request(c[None]), InvalidInput, "2 or 3 axes"),
    "not a number": (lambda c: spoiled(c, np.nan), InvalidInput, "row 2 has nan"),
    "infinite": (lambda c: spoiled(c, np.inf), InvalidInput, "row 2 has inf"),
    "zero vector": (lambda c: request(c[0] * [[1], [1], [0], [1], [1]]), InvalidInput, "row 2 is all zeros"),
    "too many": (lambda c: request(np.tile(c, (50, 1, 1))), InvalidInput, "at most 256 contexts"),
    "no context": (lambda c: PredictRequest(request_id="a", route="amn"), WrongSpace, "not set"),
    "another space": (lambda c: request(c[0], space="gtr-1"), WrongSpace, "'gtr-1'.*'toy-"),
    "no route": (lambda c: request(c[0], ""), InvalidInput, "route is not set; have amn"),
    "unknown route": (lambda c: request(c[0], "os"), UnknownRoute, "'os'; have amn"),
    "route without a model": (lambda c: request(c[0], "direct"), UnknownRoute, "'direct' has no LVM"),
}


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD)
async def test_a_bad_item_fails_alone_with_its_own_error(serving, contexts, make, error, message):
    bad = make(contexts)
    bad.request_id = "bad"
    requests = [request(contexts[0], request_id="before"), bad, request(contexts[1], request_id="after")]
    outcomes = {}
    async with serving() as stub:
        async for response in exchange(stub.Predict, requests, stage="lvm"):
            try:
                outcomes[response.request_id] = raise_for_item(response)
            except NextvecError as caught:
                outcomes[response.request_id] = caught
    assert type(outcomes["bad"]) is error
    with pytest.raises(error, match=message):
        raise outcomes["bad"]
    assert outcomes["before"].HasField("result")
    assert outcomes["after"].HasField("result")


async def test_a_corrupt_model_fails_its_own_route_only(serving, models, contexts):
    (production(models, "gru") / "model.safetensors").write_bytes(b"nothing")
    async with serving() as stub:
        with pytest.raises(FailedPrecondition, match="SHA-256"):
            await ask(stub.Predict, request(contexts, "gru"), stage="lvm")
        await ask(stub.Predict, request(contexts, "amn"), stage="lvm")


async def test_models_are_listed_with_what_they_were_trained_on(serving):
    async with serving() as stub:
        models = {m.route: m for m in (await stub.ListModels(ListModelsRequest())).models}
    assert list(models) == ["amn", "transformer", "gru", "lstm", "transformer-optimized"]
    assert models["transformer-optimized"].architecture == "transformer"
    assert models["gru"].trained_on[0].source == "invented texts"


async def test_a_server_that_is_healthy_has_loaded_every_model(serving):
    async with serving() as stub:
        models = (await stub.ListModels(ListModelsRequest())).models
    assert all(model.loaded for model in models)


async def test_a_missing_model_does_not_keep_the_others_from_being_served(serving, models, contexts):
    (models / "gru_v0").unlink()
    async with serving() as stub:
        with pytest.raises(FailedPrecondition, match="gru_v0 is missing"):
            await ask(stub.Predict, request(contexts, "gru"), stage="lvm")
        await ask(stub.Predict, request(contexts, "amn"), stage="lvm")
        listed = [model.route for model in (await stub.ListModels(ListModelsRequest())).models]
    assert "gru" not in listed
    assert "amn" in listed


async def test_a_promotion_under_load_fails_no_request(serving, models, contexts):
    answers = []

    async def load(stub):
        for _ in range(60):
            response = await ask(stub.Predict, request(contexts[:1]), stage="lvm")
            answers.append(response.result.model_id)
            await asyncio.sleep(0.01)

    async with serving(max_wait_ms=0) as stub:
        clients = [asyncio.create_task(load(stub)) for _ in range(3)]
        await asyncio.sleep(0.1)
        fresh = await asyncio.to_thread(save_toy, models, "amn", "fresh", 5)
        promote(fresh, "amn")
        await asyncio.gather(*clients)
    assert len(answers) == 180
    assert answers[0].startswith("amn_2")
    assert answers[-1].startswith("fresh_2")
