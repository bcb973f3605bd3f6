"""One set of vectors decoded once: the figures that say how good an inverter is."""

from collections.abc import Callable, Sequence

import numpy as np

from nextvec.vectors import Array, cosine
from training.evaluation import text_metrics

Decode = Callable[[Array], list[str]]
"""Raw vectors [N, D] → N texts."""

Encode = Callable[[list[str]], Array]
"""N texts → raw vectors [N, D]."""


def score_inversion(
    vectors: Array, texts: Sequence[str], decode: Decode, encode: Encode | None = None
) -> dict[str, float]:
    """Decodes raw vectors [N, D] and compares with the texts they were made of.

    Gives `bleu` (sacrebleu, corpus level, cased, 0 to 100), `token_f1` (multiset overlap of words and
    punctuation, cased, mean over texts, 0 to 1), `exact` (share of equal texts) and, where `encode` is
    given, `cosine` (mean cosine of the decoded texts' vectors to `vectors`).
    """
    decoded = decode(vectors)
    scores = {
        "bleu": float(text_metrics.bleu(text_metrics.bleu_counts(decoded, texts).sum(axis=0))),
        "token_f1": float(text_metrics.token_f1(decoded, texts).mean()),
        "exact": float(text_metrics.exact(decoded, texts).mean()),
    }
    if encode is not None:
        scores["cosine"] = float(cosine(np.asarray(encode(decoded)), vectors).mean())
    return scores
