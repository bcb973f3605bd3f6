"""How near a decoded text is to the wanted one: BLEU, token F1, exact.

Every function takes N pairs and gives one row or value per pair, so that a mean over any documents, and
its interval, can be taken afterwards.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_ORDER = 4  # longest n-gram of BLEU


def tokens(text: str) -> list[str]:
    """Words, apostrophes inside them kept, and single punctuation marks; case as it is."""
    return _WORD.findall(text)


def token_f1(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """F1 [N] of the overlap of tokens, each counted as often as it occurs; cased.

    The papers on vec2text speak of token F1; its code compares sets of NLTK's tokens, which forgives
    repetition. Counting does not, and is what question answering (SQuAD) calls F1. Two empty texts
    have 1.
    """
    scores = np.empty(len(texts))
    for row, (text, reference) in enumerate(zip(texts, references, strict=True)):
        found, wanted = Counter(tokens(text)), Counter(tokens(reference))
        total = found.total() + wanted.total()
        scores[row] = 2 * (found & wanted).total() / total if total else 1.0
    return scores


def exact(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """1 where a text equals its reference but for the white space, else 0 [N]; cased."""
    pairs = zip(texts, references, strict=True)
    return np.array([float(text.split() == reference.split()) for text, reference in pairs])


def bleu_counts(texts: Sequence[str], references: Sequence[str]) -> Counts:
    """What BLEU is made of, per pair [N, 10]: n-gram matches (4), n-grams (4), length, reference's length.

    Counted by sacrebleu, cased, with its 13a tokens. Rows add up: `bleu` of a sum of rows is the corpus'
    BLEU.
    """
    rows = np.empty((len(texts), 2 * _ORDER + 2), dtype=np.int64)
    for row, (text, reference) in enumerate(zip(texts, references, strict=True)):
        score = _sacrebleu().corpus_score([text], [[reference]])
        rows[row] = [*score.counts, *score.totals, score.sys_len, score.ref_len]
    return rows


def bleu(counts: Counts) -> Floats:
    """Corpus BLEU, 0 to 100, of sums of `bleu_counts` [..., 10] → [...].

    This is sacrebleu's corpus level with its default smoothing. vec2text's code prints the mean of the
    sentences' BLEU instead, so its figures are not comparable.
    """
    scores = [
        BLEU.compute_bleu(
            correct=row[:_ORDER],
            total=row[_ORDER:-2],
            sys_len=row[-2],
            ref_len=row[-1],
            smooth_method="exp",
        ).score
        for row in counts.reshape(-1, counts.shape[-1]).tolist()
    ]
    return np.array(scores).reshape(counts.shape[:-1])


@cache
def _sacrebleu() -> BLEU:
    return BLEU()
