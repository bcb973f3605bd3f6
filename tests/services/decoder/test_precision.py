"""Backends of reduced precision: near the exact one, and as indifferent to company as it is."""

import pytest
import torch

from nextvec.errors import StartupError
from services.decoder.backends import BACKENDS
from services.decoder.engine import Engine
from services.decoder.walk import Walk
from services.layers import unusable

needs_vnni = pytest.mark.skipif(bool(unusable()), reason=unusable())
PRECISIONS = [pytest.param(name, marks=needs_vnni) for name in ("int8", "w8a16")]


@pytest.fixture(scope="module", params=PRECISIONS)
def reduced(request, family):
    return Engine.load(family, request.param, slots=8)


def test_texts_of_many_lengths_end_as_texts_do(reduced, vectors):
    walks = reduced.run(vectors, 3)
    limit = reduced._backend.limit
    for walk in walks:
        for hypothesis in walk.hypotheses:
            assert len(hypothesis.ids) == limit or hypothesis.ids[-1] == 1
    assert len({len(h.ids) for walk in walks for h in walk.hypotheses}) > 3
    assert any(len(h.ids) == limit for walk in walks for h in walk.hypotheses)


def test_a_vector_far_off_leaves_the_others_as_they_are(reduced, vectors):
    beside = reduced.run(vectors[:4], 2)
    company = reduced.run(torch.cat((vectors[:4], 1e4 * vectors[4:5])), 2)
    assert [w.last.ids for w in company[:4]] == [w.last.ids for w in beside]


def test_a_walk_that_is_stopped_leaves_the_others_as_they_are(reduced, vectors):
    wanted = reduced.run(vectors[:3], 2)
    walks = [Walk(vector) for vector in vectors[:3]]
    reduced.start([(walk, 2) for walk in walks])
    reduced.advance()
    reduced.stop(walks[1])
    while reduced.busy:
        reduced.advance()
    assert walks[0].last.ids == wanted[0].last.ids
    assert walks[2].last.ids == wanted[2].last.ids


def test_texts_of_two_precisions_never_share_an_entry_of_the_cache(reduced, engine):
    assert reduced.digest != engine.digest


@pytest.mark.parametrize("name", ["int8", "w8a16"])
def test_a_machine_that_is_not_fit_is_refused_with_the_remedy(name, family, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(StartupError, match=f"{name}.*no AVX512-VNNI; use"):
        BACKENDS.load(name).load(family, 1)
