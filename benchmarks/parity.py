"""What engines of reduced precision lose against the exact one, and so which may be called the fastest.

An engine that is faster and writes worse texts has won nothing. It is no candidate at any size: weights drawn
at random have no texts to lose, so the family's own decide for them too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from benchmarks.bars import BARS
from benchmarks.contest import EXACT
from benchmarks.harness import Options
from benchmarks.results import Result, figure, held
from services.decoder.engine import Engine

STEPS = 5
"""Corrections after which texts are compared."""

_COSINE, _BLEU_LOSS = "mini_parity_cosine", "mini_parity_bleu_loss"


@dataclass(frozen=True)
class Parity:
    """A backend's texts next to the exact ones."""

    backend: str
    cosine: float  # mean, of the re-encoded texts
    bleu_loss: float  # BLEU to the source that the exact ones have more
    equal: float  # share of texts

    @property
    def reached(self) -> bool:
        """Whether both bars of parity are."""
        return BARS[_COSINE].passed_by(self.cosine) and BARS[_BLEU_LOSS].passed_by(self.bleu_loss)

    def figures(self) -> list[Result]:
        """Under the backend's own name, held to no bar."""
        start, what = f"mini_parity_{self.backend}", f"mini, {STEPS} steps, {self.backend} against exact"
        return [
            figure(f"{start}_cosine", "decode", f"{what}: mean cosine of the texts", self.cosine, ""),
            figure(
                f"{start}_bleu_loss", "decode", f"{what}: BLEU to the source, lost", self.bleu_loss, "BLEU"
            ),
            figure(f"{start}_equal", "decode", f"{what}: share of equal texts", self.equal, ""),
        ]


def measure(engines: Mapping[str, Engine], texts: Sequence[str], options: Options) -> list[Parity]:
    """Parity of every backend but the exact one, decoding the vectors of N texts."""
    from sacrebleu import corpus_bleu

    exact = engines[EXACT]
    vectors = exact.embed(list(texts))

    def decoded(backend: str) -> list[str]:
        options.say(f"decode: texts of {backend}")
        return [walk.at(STEPS).text for walk in engines[backend].run(vectors, STEPS)]

    def bleu(found: list[str]) -> float:
        return float(corpus_bleu(found, [list(texts)]).score)

    wanted = decoded(EXACT)
    parities = []
    for backend in (name for name in engines if name != EXACT):
        found = decoded(backend)
        cosines = torch.cosine_similarity(exact.embed(wanted), exact.embed(found))
        equal = fmean(ours == theirs for ours, theirs in zip(found, wanted, strict=True))
        parities.append(Parity(backend, float(cosines.mean()), bleu(wanted) - bleu(found), equal))
    return parities


def candidates(found: Sequence[Parity]) -> list[str]:
    """Backends that may be called the fastest: the exact one and those that reach parity with it."""
    return [EXACT, *(parity.backend for parity in found if parity.reached)]


def bars(found: Sequence[Parity], fastest: str) -> list[Result]:
    """The bars, held by the fastest backend; where that is the exact one, by the best of the reduced ones."""
    if not found:
        return []
    best = max(found, key=lambda parity: (parity.reached, parity.cosine))
    chosen = next((parity for parity in found if parity.backend == fastest), best)
    note = f"by {chosen.backend}"
    return [held(_COSINE, chosen.cosine, note), held(_BLEU_LOSS, chosen.bleu_loss, note)]
