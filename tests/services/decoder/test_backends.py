"""The project's own engine against the installed vec2text library, on the same weights, token for token.

The library allows 128 tokens in a correction step where its models were trained for fewer; both sides end at
the family's limit here. Compared is the last hypothesis, which is what the library returns.
"""

import shutil

import pytest
import torch

from nextvec import weights
from nextvec.family import Family
from services.decoder.backends import BACKENDS
from services.decoder.engine import Engine
from services.layers import compiled


@pytest.fixture(scope="module")
def library(family):
    return BACKENDS.load("vec2text_library").load(family, 8)


@pytest.fixture(scope="module")
def walks(engine, vectors):
    return engine.run(vectors, 5)


@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_own_engine_writes_the_librarys_tokens(library, walks, vectors, steps):
    assert [list(walk.at(steps).ids) for walk in walks] == library.invert(vectors, steps)


def test_without_the_kernel_the_texts_are_the_same(family, walks, vectors, monkeypatch):
    monkeypatch.setattr(compiled, "kernel", None)
    found = Engine.load(family, slots=8).run(vectors, 5)
    assert [[h.ids for h in walk.hypotheses] for walk in found] == [
        [h.ids for h in walk.hypotheses] for walk in walks
    ]


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


@pytest.mark.parametrize("kept", ["shared", "lm_head"])
def test_the_library_reads_token_embeddings_under_any_of_their_tied_names(family, vectors, tmp_path, kept):
    shutil.copytree(family.folder, tmp_path / "toy")
    copy = Family.open(tmp_path / "toy")
    for part in ("inverter", "corrector"):
        file = copy.part(part) / "model.safetensors"
        arrays = weights.load(file)
        for name in {"shared", "lm_head", "encoder.embed_tokens", "decoder.embed_tokens"} - {kept}:
            del arrays[f"encoder_decoder.{name}.weight"]
        weights.save(file, arrays, "float32")
    [walk] = Engine.load(copy, slots=1).run(vectors[:1], 2)
    theirs = BACKENDS.load("vec2text_library").load(copy, 1).invert(vectors[:1], 2)
    assert list(walk.at(2).ids) == theirs[0]


def test_the_library_takes_an_untied_output_layer_without_the_shared_name(family, vectors, tmp_path):
    shutil.copytree(family.folder, tmp_path / "toy")
    copy = Family.open(tmp_path / "toy")
    file = copy.part("inverter") / "model.safetensors"
    arrays = weights.load(file)
    arrays["encoder_decoder.lm_head.weight"] = arrays["encoder_decoder.lm_head.weight"][::-1].copy()
    del arrays["encoder_decoder.shared.weight"]
    weights.save(file, arrays, "float32")
    [walk] = Engine.load(copy, slots=1).run(vectors[:1], 0)
    theirs = BACKENDS.load("vec2text_library").load(copy, 1).invert(vectors[:1], 0)
    assert list(walk.at(0).ids) == theirs[0]


def test_the_toy_texts_exercise_what_matters(walks, engine):
    hypotheses = [hypothesis for walk in walks for hypothesis in walk.hypotheses]
    lengths = {len(h.ids) for h in hypotheses}
    assert len(lengths) > 3, "texts of several lengths"
    assert max(lengths) == 20, "texts that do not end before the limit"
    assert len({h.ids for h in hypotheses}) > len(hypotheses) / 4, "varied texts"
    assert torch.isfinite(torch.tensor([h.cosine for h in hypotheses])).all()


def test_the_folder_is_the_registry():
    assert {"native", "vec2text_library"} <= set(BACKENDS.names())
