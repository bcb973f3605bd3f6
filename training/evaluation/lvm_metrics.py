"""How good predicted vectors are, as pure functions of arrays.

Only directions count: every function brings what it gets to unit norm. Each gives one value per
prediction, so that means and intervals can be taken over any documents.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nextvec.vectors import Array, unit
from nextvec.vectors import cosine as cosine_of

Floats = NDArray[np.float64]
Predict = Callable[[Array], Array]
"""Contexts [N, 5, D], oldest first → predictions [N, D]."""

_SAME = 1 - 1e-5  # cosine from which two vectors are those of the same text


def cosine(predictions: Array, targets: Array) -> Floats:
    """Cosine of each prediction [N, D] to its target [N, D] → [N]."""
    return cosine_of(predictions, targets).astype(np.float64)


def centred_cosine(predictions: Array, targets: Array, centre: Array) -> Floats:
    """Cosine after `centre` [D], the mean direction of real vectors, is taken off both → [N].

    What all vectors of a space have in common raises every cosine, a constant prediction's too.
    """
    return cosine_of(unit(predictions) - centre, unit(targets) - centre).astype(np.float64)


def contrastive_accuracy(
    predictions: Array, targets: Array, documents: NDArray[np.integer], positions: NDArray[np.integer]
) -> Floats:
    """Share of the batch's other targets that are farther from a prediction than its own target → [N].

    Predictions and targets [N, D] are one batch, documents [N] and positions [N] say where the targets
    stand. A target's two neighbours in its document are left out, and so are equal vectors, being the same
    text. NaN where nothing is left. Source: Large Concept Models, 2024, contrastive accuracy.
    """
    targets = unit(targets)
    scores = unit(predictions) @ targets.T
    own = np.diagonal(scores)[:, None]
    near = (documents[:, None] == documents) & (np.abs(positions[:, None] - positions) <= 1)
    others = ~near & (targets @ targets.T < _SAME)
    with np.errstate(invalid="ignore"):
        return ((scores < own) & others).sum(axis=1) / others.sum(axis=1)


def ranks(predictions: Array, chunks: Array, positions: NDArray[np.integer], context: int = 5) -> Floats:
    """Rank of each prediction's target among its document's chunks, 1 being the nearest → [N].

    predictions [N, D], chunks [C, D] all vectors of the one document in order, positions [N] the targets'
    rows among them. The `context` chunks before the target are no candidates: a mean-like prediction is
    nearest to those. Nor is another chunk with the target's own vector. Ties count against the prediction.
    """
    chunks = unit(chunks)
    scores = unit(predictions) @ chunks.T
    own = scores[np.arange(len(positions)), positions][:, None]
    place = np.arange(len(chunks)) - positions[:, None]
    candidates = (place < -context) | (place > 0)
    candidates &= chunks[positions] @ chunks.T < _SAME
    return 1.0 + ((scores >= own) & candidates).sum(axis=1)


def copying(predictions: Array, targets: Array, contexts: Array) -> tuple[Floats, Floats]:
    """Largest cosine of prediction and of target [N, D] to any of the context's vectors [N, 5, D] → [N], [N].

    PAR is the mean of the first over the mean of the second: 1 is as near to the context as the truth is,
    above 1 means copying. The quotient of means is taken because a single target may be at right angles
    to its context.
    """
    contexts = unit(contexts)
    predicted, true = (
        np.einsum("nd,nkd->nk", unit(v), contexts).max(axis=1).astype(np.float64)
        for v in (predictions, targets)
    )
    return predicted, true


def offset_profile(
    predictions: Array, chunks: Array, positions: NDArray[np.integer], offsets: NDArray[np.integer]
) -> Floats:
    """Cosine of each prediction to the chunks around its target [N, len(offsets)], NaN outside the document.

    predictions [N, D], chunks [C, D] of the one document, positions [N] the targets' rows. Offset 0 is the
    target, -1 the last chunk of the context.
    """
    scores = unit(predictions) @ unit(chunks).T
    places = positions[:, None] + offsets
    inside = (places >= 0) & (places < len(chunks))
    found = np.take_along_axis(scores, np.clip(places, 0, len(chunks) - 1), axis=1)
    return np.where(inside, found, np.nan)


def order_effect(predict: Predict, contexts: Array, seed: int = 1) -> dict[str, Floats]:
    """Cosine of the predictions from `contexts` [N, 5, D] to those from the same vectors in another order.

    `shuffled` [N] and `reversed` [N]; 1 means that the model does not look at the order.
    """
    straight = predict(contexts)
    random = np.random.default_rng(seed)
    shuffle = np.argsort(random.random(contexts.shape[:2]), axis=1)
    shuffled = np.take_along_axis(contexts, shuffle[..., None], axis=1)
    return {
        "shuffled": cosine(predict(shuffled), straight),
        "reversed": cosine(predict(contexts[:, ::-1]), straight),
    }


def roll_out(predict: Predict, contexts: Array, following: Array) -> Floats:
    """Cosine to the true vectors when each prediction becomes the last of the next context → [N, steps].

    contexts [N, 5, D], following [N, steps, D] the true vectors behind them.
    """
    window = unit(contexts)
    steps = []
    for step in range(following.shape[1]):
        predicted = unit(predict(window))
        steps.append(cosine(predicted, following[:, step]))
        window = np.concatenate([window[:, 1:], predicted[:, None]], axis=1)
    return np.stack(steps, axis=1)


def round_trip_gap(predictions: Array, reencoded: Array, targets: Array) -> Floats:
    """How much farther from the target a prediction is once it has been text: l2(r, t) - l2(p, t) → [N].

    predictions, reencoded and targets [N, D]; `reencoded` are the vectors of the decoded predictions. Zero
    for a prediction that is the vector of a text which the decoder writes; large for one that lies off the
    region of real text.
    """
    p, r, t = unit(predictions), unit(reencoded), unit(targets)
    return (np.linalg.norm(r - t, axis=1) - np.linalg.norm(p - t, axis=1)).astype(np.float64)
