"""Greedy decoding of many rows with drafts is greedy decoding of each row alone without."""

import random

import pytest
import torch

from services.decoder import generation
from services.decoder.backends.native import load
from services.decoder.checkpoint import Checkpoint
from services.decoder.draft import Drafts
from services.decoder.generation import Generation
from services.decoder.inversion import EOS, Corrector, Inverter


@pytest.fixture(scope="module")
def inverter(family):
    return Inverter(Checkpoint.load("inverter", family))


@pytest.fixture(scope="module")
def states(inverter, vectors):
    with torch.inference_mode():
        return inverter.read(vectors)[0]


def write(model, rows, drafts=None, slots=32):
    """Texts of encoder states [B, S, width], and the passes it took."""
    writing = Generation(model, slots, 20, rows.shape[1])
    texts = {}
    with torch.inference_mode():
        writing.join(range(len(rows)), rows, None, [Drafts(d) for d in drafts or [()] * len(rows)])
        passes = 0
        while len(writing):
            texts |= dict(writing.advance())
            passes += 1
    return [texts[i] for i in range(len(rows))], passes, writing.passes


@pytest.fixture(scope="module")
def alone(inverter, states):
    return [write(inverter, row[None])[0][0] for row in states]


def test_batched_is_one_by_one(inverter, states, alone):
    assert write(inverter, states)[0] == alone


def test_texts_end_with_the_end_token_or_at_the_limit(alone):
    assert all(text[0] == 0 and (text[-1] == EOS or len(text) == 20) for text in alone)
    assert {text[-1] == EOS for text in alone} == {True, False}


@pytest.mark.parametrize("row", range(6))
def test_a_right_draft_is_written_in_one_pass(inverter, states, alone, row, monkeypatch):
    monkeypatch.setattr(generation, "FREE_TOKENS", 1e6)
    texts, passes, counted = write(inverter, states[row][None], [alone[row][1:]])
    assert texts == [alone[row]]
    assert passes == 1
    assert counted.tokens == len(alone[row]) - 1


@pytest.mark.parametrize("seed", range(8))
def test_any_draft_leaves_the_text_as_it_is(inverter, states, alone, seed):
    chance = random.Random(seed)
    drafts = []
    for text in alone:
        draft = list(text[1:])
        for _ in range(chance.randint(0, 5)):
            place = chance.randrange(len(draft) + 1)
            draft[place : place + chance.randint(0, 2)] = [chance.randrange(300)] * chance.randint(0, 2)
        drafts.append(draft)
    assert write(inverter, states, drafts)[0] == alone


@pytest.mark.parametrize("free", [0, 2, 20, 400])
def test_any_number_of_tokens_a_pass_leaves_the_texts_as_they_are(inverter, states, alone, monkeypatch, free):
    monkeypatch.setattr(generation, "FREE_TOKENS", free)
    drafts = [[*text[1:4], 7, *text[5:]] for text in alone]
    assert write(inverter, states, drafts)[0] == alone


def test_rows_join_and_leave_between_passes(inverter, states, alone):
    chance = random.Random(3)
    writing = Generation(inverter, 4, 20, states.shape[1])
    waiting, texts, left = list(range(len(states))), {}, set()
    with torch.inference_mode():
        while waiting or len(writing):
            joining = [
                waiting.pop() for _ in range(min(len(waiting), 4 - len(writing), chance.randint(0, 2)))
            ]
            if joining:
                writing.join(joining, states[joining], None, [Drafts(alone[i][1:9]) for i in joining])
            texts |= dict(writing.advance())
            if chance.random() < 0.1 and len(writing):
                leaving = writing._rows[chance.randrange(len(writing))].key
                writing.leave(leaving)
                left.add(leaving)
    assert left
    assert set(texts) | left == set(range(len(states)))
    assert all(text == alone[i] for i, text in texts.items())


def test_masked_hypotheses_of_many_lengths_share_a_pass(family, vectors, alone):
    corrector = Corrector(Checkpoint.load("corrector", family))
    hypotheses = [text[: 2 + i] for i, text in enumerate(alone)]

    def correct(rows):
        with torch.inference_mode():
            states, mask = corrector.read(vectors[rows], [hypotheses[i] for i in rows], vectors[rows].flip(1))
            writing = Generation(corrector, 32, 20, corrector.prefix + 20)
            writing.join(rows, states, mask, [Drafts(hypotheses[i][1:]) for i in rows])
            texts = {}
            while len(writing):
                texts |= dict(writing.advance())
        return texts

    together = correct(list(range(len(alone))))
    assert together == {i: correct([i])[i] for i in range(len(alone))}


def test_a_backend_counts_what_drafts_saved(family, vectors, engine):
    native = load(family, 4)
    assert native.passes.rows == native.passes.tokens == 0
    before = engine.passes.rows
    engine.run(vectors[:2], 2)
    assert engine.passes.tokens >= engine.passes.rows > before
