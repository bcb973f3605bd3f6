"""The engine without a server: batches, lazy loading, promotion."""

import time

import numpy as np
import pytest

from nextvec.errors import UnknownRoute, WrongSpace
from nextvec.vectors import unit
from services.lvm import checkpoint
from services.lvm.engine import Contexts, LvmEngine
from services.lvm.registry import ModelError, production, promote
from tests.services.lvm.toys import SPACE, save_toy

ROUTES = ("amn", "transformer", "gru", "lstm", "transformer-optimized")


@pytest.fixture
def engine(models):
    engine = LvmEngine(models, SPACE)
    yield engine
    engine.close()


def predict_until(engine, item, done, seconds=10):
    """Predicts until `done(model_id)`; returns all answers."""
    answers, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        answers += engine.predict([item])
        if done(answers[-1].model_id):
            return answers
        time.sleep(0.01)
    raise AssertionError(f"still answered by {answers[-1].model_id}")


@pytest.mark.parametrize("route", ROUTES)
def test_items_together_get_what_they_get_alone(engine, contexts, route):
    items = [Contexts(route, contexts[:1]), Contexts(route, contexts[1:4]), Contexts(route, contexts[4:])]
    for item, together in zip(items, engine.predict(items), strict=True):
        (alone,) = engine.predict([item])
        assert together.vectors.shape == (len(item.vectors), 768)
        np.testing.assert_allclose(together.vectors, alone.vectors, atol=1e-5)


def test_served_equals_offline(engine, models, contexts):
    model, card = checkpoint.load(production(models, "gru"), SPACE)
    (answer,) = engine.predict([Contexts("gru", contexts)])
    np.testing.assert_allclose(answer.vectors, checkpoint.predict(model, contexts), atol=1e-6)
    assert answer.model_id == card.id


def test_only_directions_of_the_context_matter(engine, contexts):
    raw, directions = engine.predict([Contexts("lstm", contexts), Contexts("lstm", unit(contexts))])
    np.testing.assert_allclose(raw.vectors, directions.vectors, atol=1e-5)


def test_a_model_is_loaded_when_its_route_is_first_asked(engine, contexts):
    assert not any(loaded for _, _, loaded in engine.cards())
    engine.predict([Contexts("gru", contexts)])
    assert [route for route, _, loaded in engine.cards() if loaded] == ["gru"]


def test_all_models_are_there_once_they_were_preloaded(engine, contexts):
    assert engine.preload() == {}
    assert all(loaded for _, _, loaded in engine.cards())
    engine.predict([Contexts("gru", contexts)])


def test_a_model_that_is_missing_or_broken_or_foreign_is_named_and_the_others_are_preloaded(
    engine, models, contexts
):
    (models / "gru_v0").unlink()
    (production(models, "lstm") / "model.safetensors").write_bytes(b"nothing")
    promote(save_toy(models, "amn", "foreign", space="other-1"), "amn")
    missing = engine.preload()
    assert sorted(missing) == ["amn", "gru", "lstm"]
    assert "gru_v0 is missing" in missing["gru"]
    assert "SHA-256" in missing["lstm"]
    assert "other-1" in missing["amn"]
    assert [route for route, _, loaded in engine.cards() if loaded] == [
        "transformer",
        "transformer-optimized",
    ]
    promote(save_toy(models, "gru", "late"), "gru")
    (answer,) = engine.predict([Contexts("gru", contexts)])
    assert answer.model_id.startswith("late_2")


def test_a_promoted_model_takes_over_and_every_request_is_answered(engine, models, contexts):
    item = Contexts("amn", contexts[:1])
    before = engine.predict([item])[0]
    fresh = save_toy(models, "amn", "amn_next", seed=9)
    promote(fresh, "amn")
    answers = predict_until(engine, item, lambda model: model.startswith(fresh.name))
    assert {answer.model_id for answer in answers} <= {before.model_id, answers[-1].model_id}
    assert not np.allclose(before.vectors, answers[-1].vectors)


def test_a_promoted_model_that_is_broken_leaves_the_running_one_in_place(engine, models, contexts):
    item = Contexts("amn", contexts[:1])
    before = engine.predict([item])[0]
    broken = save_toy(models, "amn", "broken", seed=9)
    (broken / "model.safetensors").write_bytes(b"nothing")
    promote(broken, "amn")
    for _ in range(20):
        assert engine.predict([item])[0].model_id == before.model_id
        time.sleep(0.01)
    repaired = save_toy(models, "amn", "repaired", seed=9)
    promote(repaired, "amn")
    predict_until(engine, item, lambda model: model.startswith(repaired.name))


@pytest.mark.parametrize("between", ["the running model", "another broken model"])
def test_a_failed_promotion_is_tried_again_after_a_repair_and_a_change_of_the_link(
    engine, models, contexts, between
):
    item = Contexts("amn", contexts[:1])
    before = engine.predict([item])[0]
    running = production(models, "amn")
    folder = save_toy(models, "amn", "mended", seed=9)
    weights = (folder / "model.safetensors").read_bytes()
    other = save_toy(models, "amn", "other", seed=8)
    for broken in (folder, other):
        (broken / "model.safetensors").write_bytes(b"nothing")

    promote(folder, "amn")
    engine.predict([item])
    _, failing = engine._coming["amn"]
    assert failing.exception(10) is not None
    assert engine.predict([item])[0].model_id == before.model_id
    assert engine._coming["amn"][1] is failing, "it is not tried with every batch"

    (folder / "model.safetensors").write_bytes(weights)
    promote(running if between == "the running model" else other, "amn")
    assert engine.predict([item])[0].model_id == before.model_id
    promote(folder, "amn")
    predict_until(engine, item, lambda model: model.startswith(folder.name))


def test_a_link_that_has_gone_does_not_stop_a_running_model(engine, models, contexts):
    before = engine.predict([Contexts("amn", contexts)])[0]
    (models / "amn_v0").unlink()
    assert engine.predict([Contexts("amn", contexts)])[0].model_id == before.model_id


def test_a_route_without_a_model_says_what_is_missing(engine, models, contexts):
    (models / "gru_v0").unlink()
    with pytest.raises(ModelError, match="gru_v0 is missing; train one and promote it"):
        engine.predict([Contexts("gru", contexts)])


@pytest.mark.parametrize("route", ["direct", "os"])
def test_a_route_without_an_lvm_is_refused_with_the_known_ones(engine, contexts, route):
    with pytest.raises(UnknownRoute, match=f"{route!r}.*have amn, transformer"):
        engine.predict([Contexts(route, contexts)])


def test_a_model_of_another_space_is_never_run(engine, models, contexts):
    promote(save_toy(models, "gru", "foreign", space="other-1"), "gru")
    with pytest.raises(WrongSpace, match="other-1"):
        engine.predict([Contexts("gru", contexts)])
