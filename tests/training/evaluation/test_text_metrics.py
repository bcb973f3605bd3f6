import numpy as np
import pytest
import sacrebleu

from training.evaluation import text_metrics

REFERENCES = [
    "The ferry leaves the harbour at seven in the morning.",
    "Bread rises because yeast makes gas.",
    "Snow fell on the roofs of the old town all night.",
]
TEXTS = [
    "The ferry leaves the harbour at eight in the evening.",
    "Bread rises when yeast makes some gas.",
    "Rain fell on the roof of an old house.",
]


def test_bleu_of_summed_counts_is_sacrebleus_corpus_score():
    counts = text_metrics.bleu_counts(TEXTS, REFERENCES).sum(axis=0)
    assert text_metrics.bleu(counts) == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score)


def test_bleu_takes_many_sums_at_once():
    counts = text_metrics.bleu_counts(TEXTS, REFERENCES)
    together = text_metrics.bleu(np.stack([counts.sum(axis=0), counts[:2].sum(axis=0)]))
    assert together[1] == pytest.approx(sacrebleu.corpus_bleu(TEXTS[:2], [REFERENCES[:2]]).score)


def test_bleu_of_empty_texts_is_zero():
    assert text_metrics.bleu(text_metrics.bleu_counts(["", ""], REFERENCES[:2]).sum(axis=0)) == 0


def test_token_f1_counts_a_repeated_word_as_often_as_it_occurs():
    # 2 of 4 found tokens are wanted and 2 of 3 wanted ones are found.
    assert text_metrics.token_f1(["a a a b"], ["a b c"]) == pytest.approx([2 * 2 / 7])


def test_token_f1_tells_case_and_punctuation():
    assert text_metrics.token_f1(["the end"], ["The end."]) == pytest.approx([2 * 1 / 5])


def test_exact_forgives_white_space_and_nothing_else():
    assert text_metrics.exact(["one  two", "One two"], ["one two", "one two"]).tolist() == [1, 0]
