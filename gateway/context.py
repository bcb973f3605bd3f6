"""The five chunks that a prediction is made from: the caller's own, and what fills the slots before them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nextvec.v1.gateway_pb2 import (
    CONTEXT_SOURCE_ANN,
    CONTEXT_SOURCE_MIXED,
    CONTEXT_SOURCE_REPEAT_PAD,
    CONTEXT_SOURCE_SEQ,
    ContextInfo,
    ContextSource,
)
from nextvec.v1.snap_pb2 import Neighbour
from nextvec.vectors import Array, unit

SLOTS = 5
"""Chunks that every LVM reads."""

NEAR_DUPLICATE = 0.98
"""Cosine from which two chunks say the same; the snap stage's own limit for excluding them."""


@dataclass(frozen=True)
class Context:
    """Chunks and their raw vectors, oldest first.

    `texts` has n entries and `vectors` is [n, 768]; n is 5, or 1 where no LVM reads it. `source` and `own`
    say where the chunks of the first prediction came from, `bank_ids` which bank entries are among them.
    """

    texts: tuple[str, ...]
    vectors: Array
    source: ContextSource
    own: int
    bank_ids: tuple[int, ...] = ()

    @classmethod
    def all_own(cls, texts: Sequence[str], vectors: Array) -> "Context":
        """A context with nothing filled in."""
        return cls(tuple(texts), vectors, CONTEXT_SOURCE_SEQ, len(texts))

    def info(self) -> ContextInfo:
        """What the answer says about it."""
        return ContextInfo(source=self.source, texts=self.texts, own=self.own)

    def slide(self, texts: Sequence[str], vectors: Array) -> "Context":
        """The window after chunks `texts` with `vectors` [m, 768]; as long as before."""
        size = len(self.texts)
        return replace(
            self,
            texts=(*self.texts, *texts)[-size:],
            vectors=np.concatenate([self.vectors, vectors])[-size:],
        )


@dataclass(frozen=True)
class Found:
    """What a search of the bank found, best first, with raw vectors, row i for entry i.

    `preceding` are the chunks right before the best neighbour in its document, in reading order.
    """

    neighbours: Sequence[Neighbour]
    vectors: Array
    preceding: Sequence[Neighbour]
    preceding_vectors: Array


def fill(texts: Sequence[str], vectors: Array, found: Found | None) -> Context:
    """The caller's own chunks, fewer than five, after whatever fills the slots before them.

    `found` is what the bank has near the first own chunk. Chunks that precede the nearest neighbour in its
    document stand right before the own ones, diverse neighbours before these, and the oldest chunk is
    repeated where the bank has no more. The source named is that of the least of them, so that it never
    promises more than every slot keeps.
    """
    missing = SLOTS - len(texts)
    source = CONTEXT_SOURCE_MIXED
    fillers: list[tuple[Neighbour, Array]] = []
    if found:
        fillers = list(zip(found.preceding, found.preceding_vectors, strict=True))[-missing:]
    if found and len(fillers) < missing:
        source = CONTEXT_SOURCE_ANN
        used = {entry.id for entry, _ in fillers}
        rows = [row for row, entry in enumerate(found.neighbours) if entry.id not in used]
        known = np.stack([*vectors, *(vector for _, vector in fillers)])
        chosen = diverse(vectors[0], found.vectors[rows], known, missing - len(fillers))
        # The nearest of them stands nearest to the own chunks.
        older = [(found.neighbours[rows[pick]], found.vectors[rows[pick]]) for pick in reversed(chosen)]
        fillers = older + fillers
    all_texts = [*(entry.text for entry, _ in fillers), *texts]
    all_vectors = [*(vector for _, vector in fillers), *vectors]
    if repeats := SLOTS - len(all_texts):
        source = CONTEXT_SOURCE_REPEAT_PAD
        all_texts = all_texts[:1] * repeats + all_texts
        all_vectors = all_vectors[:1] * repeats + all_vectors
    bank_ids = tuple(entry.id for entry, _ in fillers)
    return Context(tuple(all_texts), np.stack(all_vectors), source, len(texts), bank_ids)


def diverse(query: Array, candidates: Array, known: Array, count: int) -> list[int]:
    """Rows of `candidates` [n, 768], at most `count`, near `query` [768] yet unlike each other.

    Maximal marginal relevance (Carbonell and Goldstein, 1998) with equal weights: each pick has the largest
    difference of its cosine to the query and its largest cosine to `known` [k, 768] and earlier picks.
    Near-duplicates of these are never picked.
    """
    directions = unit(candidates)
    relevance = directions @ unit(query)
    likeness = (directions @ unit(known).T).max(axis=1)
    picks: list[int] = []
    for _ in range(min(count, len(candidates))):
        score = np.where(likeness < NEAR_DUPLICATE, relevance - likeness, -np.inf)
        score[picks] = -np.inf
        pick = int(np.argmax(score))
        if not np.isfinite(score[pick]):
            break
        picks.append(pick)
        likeness = np.maximum(likeness, directions @ directions[pick])
    return picks
