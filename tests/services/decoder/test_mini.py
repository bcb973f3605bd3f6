"""The shipped weights: the project's own engine writes what the vec2text library writes, token for token.

Compared is the last hypothesis at 1, 3 and 5 steps, which is what the library returns, with the library's
limit of 128 tokens set to the family's.
"""

from pathlib import Path

import pytest
import torch

from nextvec.chunking import chunk
from nextvec.family import FAMILIES, Family
from services.decoder.backends import BACKENDS
from services.decoder.engine import Engine

torch.set_num_threads(1)

ARTICLES = Path(__file__).parents[3] / "artifacts" / "samples" / "articles"


@pytest.fixture(scope="module")
def mini():
    return Family.open("mini", FAMILIES)


@pytest.fixture(scope="module")
def sentences(mini):
    """Fifty sentences of the project's own articles, one from each of fifty."""
    texts = []
    for file in sorted(ARTICLES.glob("*.txt")):
        paragraphs = file.read_text().split("\n\n")
        texts += chunk(paragraphs[1], mini.count_tokens, mini.token_limit)[1:2]
    assert len(texts) >= 50
    return texts[:50]


@pytest.fixture(scope="module")
def engine(mini):
    return Engine.load(mini, slots=50)


@pytest.fixture(scope="module")
def vectors(engine, sentences):
    return engine.embed(sentences)


@pytest.fixture(scope="module")
def walks(engine, vectors):
    return engine.run(vectors, 5)


@pytest.fixture(scope="module")
def reference(mini, vectors):
    """The library's hypotheses of one run over five steps, by step."""
    library = BACKENDS.load("vec2text_library").load(mini, 50)
    return library.hypotheses(vectors, 5)


@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_fifty_sentences_come_out_as_from_the_library(walks, reference, steps):
    assert [list(walk.at(steps).ids) for walk in walks] == reference[steps]


def test_texts_stay_within_the_familys_limit(walks, mini):
    assert all(len(h.ids) <= mini.token_limit for walk in walks for h in walk.hypotheses)


def test_corrections_bring_the_best_texts_nearer(walks):
    """The best so far is what the ladder offers; a single correction may well lead away."""

    def best(step):
        return sum(max(h.cosine for h in walk.hypotheses if h.step <= step) for walk in walks) / len(walks)

    assert best(1) > best(0) + 0.005
    assert best(5) > best(1)
