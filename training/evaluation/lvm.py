"""Every route's predictions next to the baselines', on the same windows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nextvec.vectors import Array, unit
from training.evaluation import intervals, lvm_metrics
from training.evaluation.intervals import Estimate
from training.evaluation.lvm_metrics import Floats, Predict
from training.evaluation.samples import Sample

METRICS = ("cosine", "centred_cosine", "contrastive_accuracy", "r_at_1", "r_at_5", "mrr")
OFFSETS = np.arange(-7, 6)
ROLLED = 5
"""Steps of a roll-out."""

_BATCH = 256  # windows that contrastive accuracy takes its others from
_RUN = 16  # windows in a row within such a batch
_BLOCK = 1024  # windows predicted at a time
_SEED = 1


@dataclass(frozen=True)
class Measured:
    """One predictor's figures, one row per window [W], and its predictions [W, D]."""

    predictions: Array
    scores: Mapping[str, Floats]  # by METRICS
    copied: Floats  # largest cosine to the context, of the prediction
    true: Floats  # and of the target
    offsets: Floats  # [W, len(OFFSETS)]


def predict_all(predict: Predict, contexts: Array) -> Array:
    """Predictions [W, D] of contexts [W, 5, D], some at a time."""
    return np.concatenate(
        [predict(contexts[start : start + _BLOCK]) for start in range(0, len(contexts), _BLOCK)]
    )


def measure(predictions: Array, sample: Sample) -> Measured:
    """All figures of predictions [W, D] for the windows of a sample."""
    rows = sample.windows
    targets, documents = sample.vectors[rows], sample.document[rows]
    rank, offsets = np.empty(len(rows)), np.empty((len(rows), len(OFFSETS)))
    for document in np.unique(documents):
        here = documents == document
        chunks = sample.vectors[sample.document == document]
        places = sample.position[rows[here]]
        rank[here] = lvm_metrics.ranks(predictions[here], chunks, places)
        offsets[here] = lvm_metrics.offset_profile(predictions[here], chunks, places, OFFSETS)
    copied, true = lvm_metrics.copying(predictions, targets, sample.contexts(rows))
    scores = {
        "cosine": lvm_metrics.cosine(predictions, targets),
        "centred_cosine": lvm_metrics.centred_cosine(predictions, targets, unit(sample.vectors).mean(axis=0)),
        "contrastive_accuracy": _contrastive_accuracy(predictions, sample),
        "r_at_1": (rank <= 1).astype(np.float64),
        "r_at_5": (rank <= 5).astype(np.float64),
        "mrr": 1 / rank,
    }
    return Measured(predictions, scores, copied, true, offsets)


def figures(measured: Measured, documents: np.ndarray) -> dict[str, Estimate]:
    """METRICS and `par`, over the documents [W] of the windows."""
    found = {name: intervals.mean(measured.scores[name], documents) for name in METRICS}
    return {**found, "par": intervals.ratio(measured.copied, measured.true, documents)}


def gains(model: Measured, baseline: Measured, documents: np.ndarray) -> dict[str, Estimate]:
    """By how much a model is ahead, by METRICS, window by window."""
    return {name: intervals.mean(model.scores[name] - baseline.scores[name], documents) for name in METRICS}


def habits(predict: Predict, sample: Sample, targets: np.ndarray) -> dict[str, object]:
    """Change under shuffled and reversed context, and the roll-out, on the windows of some targets."""
    contexts, documents = sample.contexts(targets), sample.document[targets]
    order = lvm_metrics.order_effect(predict, contexts)
    last = len(sample.texts) - ROLLED
    inside = targets[targets <= last]
    inside = inside[sample.document[inside] == sample.document[inside + ROLLED - 1]]
    found: dict[str, object] = {name: intervals.mean(values, documents) for name, values in order.items()}
    if len(inside):
        following = sample.vectors[inside[:, None] + np.arange(ROLLED)]
        rolled = lvm_metrics.roll_out(predict, sample.contexts(inside), following)
        found["roll_out"] = [intervals.mean(step, sample.document[inside]) for step in rolled.T]
    return found


def offset_profile(measured: Measured, documents: np.ndarray) -> dict[str, Estimate]:
    """Mean cosine by distance from the target, which is at 0."""
    return {
        str(offset): intervals.mean(column, documents)
        for offset, column in zip(OFFSETS, measured.offsets.T, strict=True)
        if not np.isnan(column).all()
    }


def _contrastive_accuracy(predictions: Array, sample: Sample) -> Floats:
    """In batches of several runs of consecutive windows, so that others are of the same document too."""
    rows = sample.windows
    runs = np.array_split(np.arange(len(rows)), -(-len(rows) // _RUN))
    order = np.random.default_rng(_SEED).permutation(len(runs))
    shuffled = np.concatenate([runs[i] for i in order])
    found = np.empty(len(rows))
    for batch in np.array_split(shuffled, -(-len(rows) // _BATCH)):
        at = rows[batch]
        found[batch] = lvm_metrics.contrastive_accuracy(
            predictions[batch], sample.vectors[at], sample.document[at], sample.position[at]
        )
    return found
