"""Bootstrap intervals by document.

Chunks of one document resemble each other, so an interval that resamples chunks is too narrow. Here whole
documents are drawn, with replacement, and the figure is taken anew from what they hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
_SEED = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its interval."""

    value: float
    low: float
    high: float


def estimate(
    rows: NDArray[np.number],
    documents: NDArray[np.integer],
    figure: Callable[[Any], Floats],
    resamples: int = RESAMPLES,
) -> Estimate:
    """A figure of summed rows, with its percentile interval over documents.

    rows [N, K] are what the figure is made of, one per chunk, such as a numerator and a denominator;
    documents [N] says whose they are; `figure` takes sums [..., K] to values [...]. The same documents
    give the same interval. With one document the interval is the value: nothing is known about others.
    Raises ValueError without rows.
    """
    if not len(rows):
        raise ValueError("no rows to take a figure of")
    found, index = np.unique(documents, return_inverse=True)
    sums = np.zeros((len(found), rows.shape[1]), dtype=rows.dtype)
    np.add.at(sums, index, rows)
    draws = np.random.default_rng(_SEED).multinomial(
        len(found), np.full(len(found), 1 / len(found)), size=resamples
    )
    tail = (1 - LEVEL) / 2
    # A draw may hold only documents that the figure has no denominator in.
    low, high = np.nanquantile(figure(draws.astype(rows.dtype) @ sums), [tail, 1 - tail])
    return Estimate(float(figure(sums.sum(axis=0))), float(low), float(high))


def mean(values: NDArray[np.number], documents: NDArray[np.integer]) -> Estimate:
    """The mean of values [N], NaN ones left out, with its interval over documents [N]."""
    known = ~np.isnan(values)
    return ratio(values[known], np.ones(int(known.sum())), documents[known])


def ratio(
    numerators: NDArray[np.number], denominators: NDArray[np.number], documents: NDArray[np.integer]
) -> Estimate:
    """Sum of numerators [N] over sum of denominators [N], with its interval over documents [N]."""
    rows = np.stack([numerators, denominators], axis=1).astype(np.float64)
    return estimate(rows, documents, _quotient)


def _quotient(sums: NDArray[np.number]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)
