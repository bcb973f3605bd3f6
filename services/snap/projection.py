"""The arithmetic of the snap, on unit directions. Pure functions, shared by serving and evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nextvec.errors import NotFound
from nextvec.vectors import Array, cosine, unit

NEIGHBOURS = 16
"""Neighbours of a projection where the request names no number."""

CLAMP_QUERY, CLAMP_CONTEXT = 0.20, 0.30
"""A snapped direction with a lower cosine to the query, or to the context mean, has drifted off the topic."""


@dataclass(frozen=True)
class Blend:
    """Shares of the snapped direction, the query and the context mean; they add up to 1."""

    snap: float
    query: float
    context: float


STANDARD = Blend(0.75, 0.15, 0.10)
CLAMPED = Blend(0.60, 0.25, 0.15)
UNBLENDED = Blend(1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Projection:
    """A projected vector and how it came about."""

    vector: Array  # [D], raw scale
    shares: Array  # [K] of the neighbours in the snapped direction, adding up to 1
    blend: Blend
    clamp_fired: bool
    cos_query: float  # of the snapped direction before the blend
    cos_context: float  # of the snapped direction before the blend


def barycentre(neighbours: Array, cosines: Array, query: Array, context: Array) -> Projection:
    """Weighted mean of the neighbours, held to the topic by a share of query and context mean.

    neighbours [K, D] raw, best first; cosines [K] of the neighbours to the vector that is projected; query
    [D] and context [n, D] of any length. Weights are max(cos, 0), normalised.
    """
    shares = _shares(cosines)
    snapped = unit(shares @ unit(neighbours))
    query, topic = unit(query), context_mean(context)
    cos_query, cos_context = float(cosine(snapped, query)), float(cosine(snapped, topic))
    clamp = cos_query < CLAMP_QUERY or cos_context < CLAMP_CONTEXT
    blend = CLAMPED if clamp else STANDARD
    direction = unit(blend.snap * snapped + blend.query * query + blend.context * topic)
    vector = direction * (shares @ np.linalg.norm(neighbours, axis=1))
    return Projection(vector.astype(np.float32), shares, blend, clamp, cos_query, cos_context)


def medoid(neighbours: Array, cosines: Array, query: Array, context: Array) -> Projection:
    """The nearest real vector as it is, which decodes to a sentence where a mean decodes to topic words.

    Arguments as for `barycentre`. Nothing is blended in: that would make it a mean again.
    """
    best = int(np.argmax(cosines))
    shares = np.zeros(len(cosines), dtype=np.float32)
    shares[best] = 1
    snapped = neighbours[best].astype(np.float32)
    cos_query, cos_context = float(cosine(snapped, query)), float(cosine(snapped, context_mean(context)))
    return Projection(snapped, shares, UNBLENDED, False, cos_query, cos_context)


Policy = Callable[[Array, Array, Array, Array], Projection]

POLICIES: dict[str, Policy] = {"barycentre": barycentre, "medoid": medoid}
DEFAULT_POLICY = "barycentre"


def policy_named(name: str) -> Policy:
    """The policy called `name`; raises NotFound, listing the known ones."""
    if name not in POLICIES:
        raise NotFound(f"unknown policy {name!r}; have {', '.join(POLICIES)}")
    return POLICIES[name]


def context_mean(context: Array) -> Array:
    """Unit mean [D] of the directions of context vectors [n, D]."""
    return unit(unit(context).mean(0))


def near_duplicates(candidates: Array, references: Array, limit: float) -> np.ndarray:
    """Which of candidates [K, D] have a cosine of `limit` or more to one of the references [n, D]: [K]."""
    found: np.ndarray = (unit(candidates) @ unit(references).T).max(1) >= limit
    return found


def _shares(cosines: Array) -> Array:
    positive = np.maximum(cosines, 0).astype(np.float32)
    if not positive.any():
        # Nothing in the bank lies on the vector's side of the sphere: the least distant entry stands alone.
        positive[int(np.argmax(cosines))] = 1
    return positive / positive.sum()
