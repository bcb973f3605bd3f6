"""How well vectors of one kind decode, by number of correction steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nextvec.vectors import Array
from services.decoder.engine import Engine
from services.decoder.walk import Hypothesis, Walk
from training.evaluation import intervals, text_metrics
from training.evaluation.intervals import Estimate
from training.evaluation.samples import Tell

STEPS = (0, 1, 3, 5)
KINDS = ("real", "predicted", "barycentre", "medoid")


@dataclass(frozen=True)
class Decoded:
    """N texts, and the cosine [N] of each one's own vector to the vector it was decoded from."""

    texts: list[str]
    cosines: np.ndarray


def walk(engine: Engine, vectors: Array, what: str, tell: Tell, steps: int = max(STEPS)) -> list[Walk]:
    """Decodes raw vectors [N, D] with so many corrections; `what` names the work to `tell`."""
    walks: list[Walk] = []
    for start in range(0, len(vectors), engine.slots):
        walks += engine.run(torch.from_numpy(vectors[start : start + engine.slots]), steps)
        tell(what, len(walks), len(vectors))
    return walks


def best_by(walked: Walk, step: int) -> Hypothesis:
    """What a rung of so many corrections offers: the hypothesis nearest to the vector by then."""
    return max(walked.hypotheses[: step + 1], key=lambda hypothesis: hypothesis.cosine)


def after(walks: Sequence[Walk], step: int) -> Decoded:
    """What every walk offers after so many corrections."""
    best = [best_by(walked, step) for walked in walks]
    return Decoded([h.text for h in best], np.array([h.cosine for h in best], dtype=np.float64))


def figures(decoded: Decoded, references: Sequence[str], documents: np.ndarray) -> dict[str, Estimate]:
    """`bleu`, `token_f1` and `exact` against references, `cosine` to the decoded vector.

    For a predicted or snapped vector the reference is the text that truly follows, so the first three say
    how near the whole chain comes to it; the cosine is the decoder's own share.
    """
    return {
        "bleu": intervals.estimate(
            text_metrics.bleu_counts(decoded.texts, references), documents, text_metrics.bleu
        ),
        "token_f1": intervals.mean(text_metrics.token_f1(decoded.texts, references), documents),
        "exact": intervals.mean(text_metrics.exact(decoded.texts, references), documents),
        "cosine": intervals.mean(decoded.cosines, documents),
    }
