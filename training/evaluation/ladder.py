"""What requests end with: the rung, and what the answer keeps of the words it was made from.

A request here is what the gateway would send to the decoder: a vector, the text its words must come from,
and sentences to quote.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextvec.vectors import Array, cosine
from services.decoder import quality
from services.decoder.entities import entities, names_any
from services.decoder.ladder import RUNGS
from services.decoder.walk import Walk
from services.snap.engine import ProjectItem, SnapEngine
from training.evaluation import intervals
from training.evaluation.decoding import after, best_by
from training.evaluation.intervals import Estimate
from training.evaluation.samples import Sample

EXTRACTIVE = "extractive"

HEADLINE = ("keyword_hit", "entity_hit", "gibberish")
"""Shares that the ladder's own checks do not settle."""

SHARES = (*HEADLINE, "keyword_hit_source", "entity_hit_source", "gibberish_served")

# From this cosine to the context a bank's entry is the context's own text; the gateway leaves it out too.
_NEAR_DUPLICATE = 0.98


@dataclass(frozen=True)
class Request:
    """A raw vector [D]; `own` is the caller's text, `source` that and the text it was blended with.

    `candidates` are C texts with raw vectors [C, D].
    """

    vector: Array
    own: str
    source: str
    candidates: Sequence[str]
    candidate_vectors: Array


@dataclass(frozen=True)
class Answer:
    """The text a request ends with, and the rung, `1`, `3`, `5` or `extractive`."""

    text: str
    rung: str


def snapped(
    snap: SnapEngine, policy: str, predictions: Array, sample: Sample, targets: np.ndarray
) -> list[Request]:
    """Requests of an LVM's route: predictions [N, D] for targets [N], projected onto the bank."""
    contexts = sample.contexts(targets)
    requests = []
    for prediction, context, target in zip(predictions, contexts, targets, strict=True):
        item = ProjectItem(
            vector=prediction,
            query=context[-1],
            context=context,
            policy=policy,
            exclude_cosine=_NEAR_DUPLICATE,
        )
        projected = snap.project(item)
        texts = [neighbour.entry.text for neighbour in projected.neighbours]
        own = sample.context_texts(int(target))
        requests.append(
            Request(
                vector=projected.projection.vector,
                own="\n".join(own),
                source="\n".join([*texts, *own]),
                candidates=texts,
                candidate_vectors=snap.bank.raw([neighbour.entry.id for neighbour in projected.neighbours]),
            )
        )
    return requests


def direct(sample: Sample, targets: np.ndarray) -> list[Request]:
    """Requests of the route without an LVM: the chunks [N] themselves."""
    texts = [sample.texts[target] for target in targets]
    return [
        Request(sample.vectors[target], text, text, [text], sample.vectors[[target]])
        for target, text in zip(targets, texts, strict=True)
    ]


def answer(request: Request, walked: Walk) -> Answer:
    """The text of the first rung that passes the checks, else the candidate nearest to the vector."""
    for rung in RUNGS:
        text = best_by(walked, rung).text
        if all(check.passed for check in quality.check(text, request.source)):
            return Answer(text, str(rung))
    nearest = int(np.argmax(cosine(request.candidate_vectors, request.vector)))
    return Answer(request.candidates[nearest], EXTRACTIVE)


@dataclass(frozen=True)
class Outcomes:
    """What came of N requests; NaN where a source has nothing to hit."""

    rungs: list[str]
    documents: np.ndarray
    values: dict[str, np.ndarray]  # each [N], by SHARES

    @classmethod
    def of(cls, requests: Sequence[Request], walks: Sequence[Walk], documents: np.ndarray) -> "Outcomes":
        """Ends every request; documents [N] are those of the contexts."""
        answers = [answer(request, walked) for request, walked in zip(requests, walks, strict=True)]
        pairs = list(zip(requests, answers, strict=True))
        first = after(walks, RUNGS[0]).texts
        values = {
            "keyword_hit": [_keyword_hit(a.text, r.own) for r, a in pairs],
            "entity_hit": [_entity_hit(a.text, r.own) for r, a in pairs],
            "gibberish": [_gibberish(text) for text in first],
            "keyword_hit_source": [_keyword_hit(a.text, r.source) for r, a in pairs],
            "entity_hit_source": [_entity_hit(a.text, r.source) for r, a in pairs],
            "gibberish_served": [_gibberish(a.text) for _, a in pairs],
        }
        return cls(
            [a.rung for a in answers],
            documents,
            {k: np.array(v, dtype=np.float64) for k, v in values.items()},
        )

    @classmethod
    def together(cls, parts: Sequence["Outcomes"]) -> "Outcomes":
        """Those of several routes as one."""
        return cls(
            [rung for part in parts for rung in part.rungs],
            np.concatenate([part.documents for part in parts]),
            {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
        )

    def ladder(self) -> dict[str, Estimate]:
        """Share of the requests that end at each rung."""
        rungs = np.array(self.rungs)
        return {
            rung: intervals.mean((rungs == rung).astype(np.float64), self.documents)
            for rung in (*map(str, RUNGS), EXTRACTIVE)
        }

    def figures(self) -> dict[str, Estimate]:
        """SHARES by name.

        `keyword_hit` and `entity_hit`: answers with a content word, or a name or number, of the caller's own
        text, where that has one. `gibberish`: texts of rung 1, before any check, that fail the checks of
        repetition and variety: what a request would get with no ladder to choose.

        The others say what the ladder leaves: `keyword_hit_source` and `entity_hit_source` are of the whole
        source, of which every decoded answer must have a content word; `gibberish_served` of the answers,
        which have passed those very checks but for quotations.
        """
        return {
            name: intervals.mean(values, self.documents)
            for name, values in self.values.items()
            if not np.isnan(values).all()
        }


def _keyword_hit(text: str, source: str) -> float:
    wanted = quality.content_words(source)
    return float(bool(wanted & quality.content_words(text))) if wanted else np.nan


def _entity_hit(text: str, source: str) -> float:
    wanted = entities(source)
    return float(names_any(text, wanted)) if wanted else np.nan


def _gibberish(text: str) -> float:
    return float(not all(check.passed for check in quality.check(text)))
