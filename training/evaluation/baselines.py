"""Predictions that need no network: what a learned model must beat to be worth its parameters.

`last_chunk` and `context_mean` need nothing. `five_weights`, one number per place in the context, and
`ridge`, a full linear map of the context, are fitted by least squares on windows; both minimise the squared
distance to the unit target, as the models' own training does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve

from nextvec import weights
from nextvec.errors import InvalidInput
from nextvec.vectors import Array, cosine, unit
from training.evaluation.lvm_metrics import Predict
from training.evaluation.samples import Tell
from training.sequences import Sequences

NAMES = ("last_chunk", "context_mean", "five_weights", "ridge")

_BLOCK = 4096  # windows at a time
_HELD_OUT = 0.05  # of the documents, to choose the penalty by
_PENALTIES = (0.1, 0.5, 2.0, 10.0, 50.0)  # in units of the mean diagonal of the inputs' inner products

Windows = tuple[Array, Array]
"""Contexts [N, 5, D] and targets [N, D]; both are brought to unit norm here."""


@dataclass(frozen=True)
class Baselines:
    """The fitted ones: `five` [5], oldest first, and `ridge` [5 * D, D]."""

    five: Array
    ridge: Array

    @classmethod
    def fit(cls, blocks: Iterable[Windows], held_out: Windows) -> "Baselines":
        """Least squares over blocks of windows; the ridge penalty is the best one on `held_out`."""
        inner: np.ndarray | None = None
        for contexts, targets in blocks:
            x, y = unit(contexts).reshape(len(contexts), -1), unit(targets)
            if inner is None:
                inner = np.zeros((x.shape[1], x.shape[1]))
                cross = np.zeros((x.shape[1], y.shape[1]))
            inner += x.T @ x
            cross += x.T @ y
        if inner is None:
            raise ValueError("no windows to fit baselines on")
        dimensions = cross.shape[1]
        places = len(cross) // dimensions
        five = solve(
            np.einsum("idjd->ij", inner.reshape(places, dimensions, places, dimensions)),
            np.einsum("idd->i", cross.reshape(places, dimensions, dimensions)),
        )
        scale = np.trace(inner) / len(inner)
        ridges = (_solve(inner, penalty * scale, cross) for penalty in _PENALTIES)
        return cls._best(five, ridges, held_out)

    @classmethod
    def fit_few(cls, windows: Windows, held_out: Windows) -> "Baselines":
        """The same from windows fewer than inputs, by way of their inner products with each other."""
        contexts, y = unit(windows[0]), unit(windows[1])
        x = contexts.reshape(len(contexts), -1)
        five = solve(np.einsum("nid,njd->ij", contexts, contexts), np.einsum("nid,nd->i", contexts, y))
        inner = x @ x.T
        scale = np.trace(inner) / x.shape[1]
        ridges = (x.T @ _solve(inner, penalty * scale, y) for penalty in _PENALTIES)
        return cls._best(five, ridges, held_out)

    @classmethod
    def _best(cls, five: np.ndarray, ridges: Iterable[np.ndarray], held_out: Windows) -> "Baselines":
        contexts, targets = held_out
        fits = (cls(five.astype(np.float32), ridge.astype(np.float32)) for ridge in ridges)
        return max(fits, key=lambda fitted: float(cosine(fitted.by_ridge(contexts), targets).mean()))

    @classmethod
    def of(
        cls, corpus: Path, tell: Tell = lambda what, done, total: None, limit: int = 400_000
    ) -> "Baselines":
        """Fitted on `limit` windows of an encoded training corpus at most, spread evenly over it."""
        training, held_out = Sequences.load(corpus).split(_HELD_OUT)
        blocks = list(_blocks(len(training), limit))

        def told() -> Iterator[Windows]:
            for done, rows in enumerate(blocks, 1):
                yield training.directions(rows)
                tell("fitting baselines", done, len(blocks))

        chooses = held_out if len(held_out) else training
        return cls.fit(told(), chooses.directions(next(_blocks(len(chooses), _BLOCK))))

    @classmethod
    def load(cls, path: Path) -> "Baselines":
        """Reads what `save` wrote; raises WeightsError where that is missing or damaged."""
        stored = weights.load(path)
        return cls(stored["five"], stored["ridge"])

    def save(self, path: Path) -> None:
        """Writes both, the matrix in 8 bits with a scale per row."""
        weights.save(path, {"five": self.five, "ridge": self.ridge}, "int8")

    def by_five_weights(self, contexts: Array) -> Array:
        """Contexts [N, 5, D] → predictions [N, D]."""
        return np.einsum("nkd,k->nd", unit(contexts), self.five)

    def by_ridge(self, contexts: Array) -> Array:
        """Contexts [N, 5, D] → predictions [N, D]."""
        return unit(contexts).reshape(len(contexts), -1) @ self.ridge

    def predictors(self) -> dict[str, Predict]:
        """All four by name."""
        return dict(zip(NAMES, (last_chunk, context_mean, self.by_five_weights, self.by_ridge), strict=True))


def last_chunk(contexts: Array) -> Array:
    """Contexts [N, 5, D] → the last vector of each [N, D]."""
    return unit(contexts[:, -1])


def context_mean(contexts: Array) -> Array:
    """Contexts [N, 5, D] → the mean of the directions of each [N, D]."""
    mean: Array = unit(contexts).mean(axis=1)
    return mean


def cross_fitted(contexts: Array, targets: Array, folds: np.ndarray) -> dict[str, Array]:
    """Predictions [N, D] of all four, each window's fitted on windows of other folds.

    contexts [N, 5, D], targets [N, D], folds [N], of which there must be at least three: one is predicted,
    one chooses the penalty, the others are fitted on; fewer raise InvalidInput. For corpora whose training
    windows are not at hand: what predicts a document has not seen it, but has seen less than the models have.
    """
    predicted = {name: np.empty_like(targets) for name in NAMES}
    found = np.unique(folds)
    if len(found) < 3:
        raise InvalidInput(f"{len(found)} documents are too few to fit baselines on; give at least 3")
    for fold, chooser in zip(found, np.roll(found, 1), strict=True):
        inside, choosing = folds == fold, folds == chooser
        rest = ~(inside | choosing)
        windows, chooses = (contexts[rest], targets[rest]), (contexts[choosing], targets[choosing])
        few = len(windows[0]) < contexts[0].size
        fitted = Baselines.fit_few(windows, chooses) if few else Baselines.fit([windows], chooses)
        for name, predict in fitted.predictors().items():
            predicted[name][inside] = predict(contexts[inside])
    return predicted


def _solve(inner: np.ndarray, penalty: float, right: np.ndarray) -> np.ndarray:
    damped = inner.copy()
    damped[np.diag_indices_from(damped)] += penalty
    return np.asarray(cho_solve(cho_factor(damped, overwrite_a=True), right))


def _blocks(total: int, wanted: int) -> Iterator[np.ndarray]:
    rows = np.linspace(0, total, min(total, wanted), endpoint=False, dtype=np.int64)
    yield from np.array_split(rows, -(-len(rows) // _BLOCK))
