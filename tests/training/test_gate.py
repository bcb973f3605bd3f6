"""What training asks of its data, from the vectors and texts that a corpus holds."""

from dataclasses import replace

import pytest

from training import gate
from training.coherence import Verdict
from training.gate import NotSequential


def test_an_encoded_corpus_is_judged_by_its_vectors_and_words(corpus_folder, sequences):
    report = gate.judge(corpus_folder, sequences)
    assert report.documents == 6
    assert report.chunks == 9 + 30 + 25 + 12 + 20 + 6 + 10  # a document of more than 24 makes two runs
    assert report.profile is not None
    assert len(report.signs) > 4  # of vectors and of words


def test_data_that_fails_is_trained_on_only_when_allowed_and_the_card_says_so(corpus_folder, sequences):
    report = replace(gate.judge(corpus_folder, sequences), verdict=Verdict.FAIL, reasons=["it leaps"])
    with pytest.raises(NotSequential, match=r"not sequential text \(it leaps\).*--allow-non-sequential"):
        gate.require(report, allowed=False)
    gate.require(report, allowed=True)
    assert gate.issues(report) == ("Trained on data that is not sequential text: it leaps.",)


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.MARGINAL])
def test_other_data_is_trained_on(corpus_folder, sequences, verdict):
    report = replace(gate.judge(corpus_folder, sequences), verdict=verdict)
    gate.require(report, allowed=False)
    assert gate.issues(report) == ()
