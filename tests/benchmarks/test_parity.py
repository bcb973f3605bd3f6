"""A faster engine that writes worse texts is not the fastest."""

import torch

from benchmarks import parity
from benchmarks.harness import Options
from benchmarks.parity import Parity
from services.decoder.walk import Hypothesis, Walk

GOOD = Parity("w8a16", cosine=0.99, bleu_loss=0.2, equal=0.8)
WORDY = Parity("int8", cosine=0.985, bleu_loss=1.4, equal=0.5)
FAR = Parity("int4", cosine=0.9, bleu_loss=0.5, equal=0.3)

TEXTS = ("the ferry crosses the bay at noon", "old Marta mends a green net")


class Writer:
    """Writes the same texts for whatever vectors; a text's vector is its number of words and letters."""

    def __init__(self, *texts):
        self.texts = texts

    def embed(self, texts):
        return torch.tensor([[len(text.split()), text.count("e")] for text in texts], dtype=torch.float32)

    def run(self, vectors, steps):
        assert steps == parity.STEPS
        texts = zip(vectors, self.texts, strict=True)
        return [
            Walk(vector, [Hypothesis(s, (0,), text, 1.0) for s in (0, 1)], True) for vector, text in texts
        ]


def values(results):
    return {result.name: (result.value, result.passed, result.what.rpartition("; ")[2]) for result in results}


def test_parity_takes_both_bars():
    assert GOOD.reached
    assert not WORDY.reached
    assert not FAR.reached


def test_only_what_reaches_parity_may_be_the_fastest():
    assert parity.candidates([WORDY, GOOD, FAR]) == ["native", "w8a16"]
    assert parity.candidates([]) == ["native"]


def test_the_bars_are_held_by_the_fastest_backend_and_name_it():
    other = Parity("int4", cosine=0.995, bleu_loss=0, equal=1)
    found = values(parity.bars([GOOD, other, WORDY], "w8a16"))
    assert found == {
        "mini_parity_cosine": (0.99, True, "by w8a16"),
        "mini_parity_bleu_loss": (0.2, True, "by w8a16"),
    }
    (cosine, _) = parity.bars([GOOD, other, WORDY], "w8a16")
    assert "by w8a16" in cosine.as_dict()["what"]


def test_where_no_reduced_backend_reaches_parity_the_bars_are_missed_with_the_best_ones_values():
    found = values(parity.bars([FAR, WORDY], "native"))
    assert found["mini_parity_cosine"] == (0.985, True, "by int8")
    assert found["mini_parity_bleu_loss"] == (1.4, False, "by int8")
    assert parity.bars([], "native") == []


def test_every_backend_has_plain_figures_under_its_own_name():
    results = [*WORDY.figures(), *GOOD.figures()]
    assert len({result.name for result in results}) == len(results)
    assert {result.passed for result in results} == {None}
    assert "mini_parity_int8_bleu_loss" in values(results)


def test_texts_are_held_against_the_exact_ones():
    engines = {
        "int8": Writer(TEXTS[0], "rain rain rain"),
        "native": Writer(*TEXTS),
        "w8a16": Writer(*TEXTS),
    }
    found = {p.backend: p for p in parity.measure(engines, TEXTS, Options(artifacts=None))}
    assert found.keys() == {"int8", "w8a16"}
    assert (found["w8a16"].bleu_loss, found["w8a16"].equal) == (0, 1)
    assert found["w8a16"].reached
    assert found["int8"].bleu_loss > 10
    assert found["int8"].equal == 0.5
    assert found["int8"].cosine < 0.98
