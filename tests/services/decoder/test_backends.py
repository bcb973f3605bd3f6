"""The project's own engine against the installed vec2text library, on the same weights, token for token.

The library allows 128 tokens in a correction step where its models were trained for fewer; both sides end at
the family's limit here. Compared is the last hypothesis, which is what the library returns.
"""

import pytest
import torch

from services.decoder.backends import BACKENDS
from services.decoder.engine import Engine


@pytest.fixture(scope="module")
def library(family):
    return BACKENDS.load("vec2text_library").load(family, 8)


@pytest.fixture(scope="module")
def walks(engine, vectors):
    return engine.run(vectors, 5)


@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_own_engine_writes_the_librarys_tokens(library, walks, vectors, steps):
    assert [list(walk.at(steps).ids) for walk in walks] == library.invert(vectors, steps)


def test_one_vector_at_a_time_gives_the_librarys_tokens(library, engine, vectors):
    for vector in vectors[:4]:
        [ids] = library.invert(vector[None], 3)
        [walk] = engine.run(vector[None], 3)
        assert list(walk.at(3).ids) == ids


def test_the_engine_on_the_library_gives_the_same_hypotheses_and_cosines(library, engine, walks, vectors):
    reference = Engine(library, engine._embedder, 8).run(vectors[:5], 3)
    for theirs, ours in zip(reference, walks, strict=False):
        for step in range(4):
            assert theirs.at(step).ids == ours.at(step).ids
            assert theirs.at(step).text == ours.at(step).text
            assert theirs.at(step).cosine == pytest.approx(ours.at(step).cosine, abs=1e-5)


def test_the_toy_texts_exercise_what_matters(walks, engine):
    hypotheses = [hypothesis for walk in walks for hypothesis in walk.hypotheses]
    lengths = {len(h.ids) for h in hypotheses}
    assert len(lengths) > 5, "texts of many lengths"
    assert max(lengths) == 20, "texts that do not end before the limit"
    assert len({h.ids for h in hypotheses}) > len(hypotheses) / 2, "varied texts"
    assert torch.isfinite(torch.tensor([h.cosine for h in hypotheses])).all()


def test_the_folder_is_the_registry():
    assert {"native", "vec2text_library"} <= set(BACKENDS.names())
