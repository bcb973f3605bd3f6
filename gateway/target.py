"""What the decoder is asked to write: a vector, what its text is checked against, what it may quote."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.context import Context
from nextvec.v1.gateway_pb2 import Chunk, SnapInfo
from nextvec.v1.snap_pb2 import ProjectResult
from nextvec.vectors import Array, cosine, unit


@dataclass(frozen=True)
class Target:
    """One vector [768] to decode.

    `source` is the text whose content words a good decoding shares: the texts that the vector was blended
    from. `candidates` are C texts with raw vectors [C, 768], at least one, to quote where no
    decoding is good.
    """

    vector: Array
    source: str
    candidates: Sequence[str]
    candidate_vectors: Array
    snap: SnapInfo | None = None

    def quote(self) -> Chunk:
        """The candidate nearest to the vector, as the decoder would quote it."""
        cosines = cosine(self.candidate_vectors, self.vector)
        best = int(np.argmax(cosines))
        return Chunk(text=self.candidates[best], extractive=True, cosine=cosines[best], snap=self.snap)


def copy_of_context(context: Context) -> Target:
    """The last chunk itself, as `direct` decodes it: checked against its own words, quoted in its own."""
    return Target(context.vectors[-1], context.texts[-1], context.texts[-1:], context.vectors[-1:])


def raw(prediction: Array, context: Context) -> Target:
    """A prediction [768] that was not snapped, at the mean norm of the context's raw vectors.

    LVMs predict directions, and decoders are trained on raw norms, so the norm has to come from real text.
    """
    norm = np.linalg.norm(context.vectors, axis=1).mean()
    vector: Array = unit(prediction) * norm
    source = "\n".join(filter(None, context.texts))
    return Target(vector, source, *_quotable(context.texts, context.vectors))


def snapped(vector: Array, neighbours: Array, result: ProjectResult, context: Context) -> Target:
    """A snapped vector [768]; `neighbours` [K, 768] are the raw vectors of the result's neighbours.

    It is a blend of neighbours, last chunk and context mean, so its words are theirs: all of them are its
    source. Quotes come from the neighbours, for a quote from the context repeats what the caller knows; only
    where the bank has no texts the context is quoted.
    """
    texts = [neighbour.text for neighbour in result.neighbours]
    candidates, vectors = _quotable(texts, neighbours)
    if not candidates:
        candidates, vectors = _quotable(context.texts, context.vectors)
    source = "\n".join(filter(None, [*texts, *context.texts]))
    return Target(vector, source, candidates, vectors, _info(result))


def _quotable(texts: Sequence[str], vectors: Array) -> tuple[list[str], Array]:
    rows = [row for row, text in enumerate(texts) if text]
    return [texts[row] for row in rows], vectors[rows]


def _info(result: ProjectResult) -> SnapInfo:
    return SnapInfo(
        policy=result.policy,
        weights=result.weights,
        clamp_fired=result.clamp_fired,
        cos_query=result.cos_query,
        cos_context=result.cos_context,
        neighbours=result.neighbours,
        cos_vector=result.cos_vector,
    )
