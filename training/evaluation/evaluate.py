"""One evaluation from documents to figures: prediction, decoding, and whole requests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nextvec.family import Family
from nextvec.routes import route_named
from nextvec.vectors import Array, unit
from services.decoder.engine import Engine
from services.families.embedder import Embedder
from services.lvm import checkpoint
from services.lvm.registry import MODELS, named, production
from services.snap.bank import Bank
from services.snap.engine import SnapEngine
from training.documents import Document
from training.evaluation import baselines, decoding, intervals, ladder, lvm, lvm_metrics
from training.evaluation.baselines import Baselines
from training.evaluation.lvm_metrics import Predict
from training.evaluation.report import Report
from training.evaluation.samples import Sample, Tell

_FOLDS = 5  # of documents, for baselines without training windows
_HABITS = 500  # windows whose predictions are made again in other orders


@dataclass(frozen=True)
class Options:
    """How much is evaluated, and with what."""

    documents: int = 100
    chunks: int = 64  # in a row, of each document
    decoded: int = 200  # targets decoded, of each kind of vector
    requests: int = 50  # of each route
    models: Path = MODELS
    candidates: tuple[str, ...] = ()  # models, by name, whose predictions are measured beside the routes'
    bank: Path | None = None  # None takes the family's own
    baselines: Path | None = None  # fitted ones; None, or no such file, fits them on the documents themselves
    backend: str = "native"


def evaluate(
    documents: Iterable[Document],
    family: Family,
    routes: Sequence[str],
    options: Options = Options(),
    tell: Tell = lambda what, done, total: None,
) -> Report:
    """Evaluates a family and its routes on documents that none of it was trained on.

    `tell` hears of progress. Raises InvalidInput where the documents are too short or too few, and what the
    stages raise where a part is missing: FamilyError, WeightsError, ModelError, BankError.
    """
    models = {
        route: checkpoint.load(production(options.models, route), family.space)
        for route in routes
        if route_named(route).has_lvm
    }
    candidates = {
        name: checkpoint.load(named(options.models, name), family.space) for name in options.candidates
    }
    snap = SnapEngine(Bank.open(options.bank or family.part("bank"), family.space))
    engine = Engine.load(family, options.backend)
    sample = Sample.draw(
        documents,
        family,
        Embedder.load(family),
        limit=options.documents,
        chunks=options.chunks,
        tell=tell,
    )
    predictors: dict[str, Predict] = {
        name: partial(checkpoint.predict, model) for name, (model, _) in (models | candidates).items()
    }
    if options.baselines and options.baselines.is_file():
        source = f"fitted on training windows ({options.baselines.name})"
        predictors |= Baselines.load(options.baselines).predictors()
    else:
        # Cross-fitted ones are another function for each fold; only these two are one for all windows.
        source = "cross-fitted by document on the evaluated windows, for want of training windows"
        predictors |= {"last_chunk": baselines.last_chunk, "context_mean": baselines.context_mean}
    measured = _measure(sample, predictors, tell)
    decoded_route = _best(measured, list(models))
    figures = {
        **_prediction(sample, measured, predictors, list(models)),
        **_decoding(sample, engine, snap, measured, decoded_route, options, tell),
        **_requests(sample, engine, snap, measured, routes, options, tell),
    }
    about = {
        "family": family.name,
        "space": family.space,
        "documents": len(sample.names),
        "chunks": len(sample.texts),
        "windows": len(sample.windows),
        "decoded": len(sample.spread(options.decoded)),
        "requests_per_route": len(sample.spread(options.requests)),
        "models": {route: card.id for route, (_, card) in models.items()},
        "candidates": ", ".join(card.id for _, card in candidates.values()) or "none",
        "decoder": f"{options.backend}, {engine.digest}",
        "bank": f"{snap.bank.record.id}, {len(snap.bank)} entries",
        "baselines": source,
        "decoded_route": decoded_route or "none: the context mean",
        "intervals": f"{intervals.LEVEL:.0%}, bootstrap of {intervals.RESAMPLES} draws of documents",
    }
    return Report(figures, about)


def _measure(sample: Sample, predictors: Mapping[str, Predict], tell: Tell) -> dict[str, lvm.Measured]:
    """Figures of every model and baseline; baselines that are no predictors are cross-fitted."""
    rows = sample.windows
    contexts = sample.contexts(rows)
    predicted = {name: lvm.predict_all(predict, contexts) for name, predict in predictors.items()}
    if not set(baselines.NAMES) <= set(predicted):
        folds = sample.document[rows] % _FOLDS
        predicted |= baselines.cross_fitted(contexts, sample.vectors[rows], folds)
    measured = {}
    for name, predictions in predicted.items():
        measured[name] = lvm.measure(predictions, sample)
        tell("predicting", len(measured), len(predicted))
    return measured


def _prediction(
    sample: Sample,
    measured: Mapping[str, lvm.Measured],
    predictors: Mapping[str, Predict],
    routes: Sequence[str],
) -> dict[str, object]:
    documents = sample.document[sample.windows]
    return {
        "lvm": {name: lvm.figures(m, documents) for name, m in measured.items()},
        "gains": {
            route: {name: lvm.gains(measured[route], measured[name], documents) for name in baselines.NAMES}
            for route in routes
        },
        "habits": {
            name: {
                **(
                    lvm.habits(predictors[name], sample, sample.spread(_HABITS)) if name in predictors else {}
                ),
                "offsets": lvm.offset_profile(m, documents),
            }
            for name, m in measured.items()
        },
    }


def _decoding(
    sample: Sample,
    engine: Engine,
    snap: SnapEngine,
    measured: Mapping[str, lvm.Measured],
    route: str,
    options: Options,
    tell: Tell,
) -> dict[str, object]:
    targets = sample.spread(options.decoded)
    documents, truth = sample.document[targets], sample.vectors[targets]
    texts = [sample.texts[target] for target in targets]
    predictions = _of(measured[route or "context_mean"], sample, targets)
    # A prediction has a direction only; the decoder reads raw vectors.
    norms = np.linalg.norm(sample.contexts(targets), axis=2).mean(axis=1, keepdims=True)
    vectors = {"real": truth, "predicted": unit(predictions) * norms}
    for policy in ("barycentre", "medoid"):
        requests = ladder.snapped(snap, policy, predictions, sample, targets)
        vectors[policy] = np.stack([request.vector for request in requests])
    table, gaps = {}, {}
    for kind in decoding.KINDS:
        walks = decoding.walk(engine, vectors[kind], f"decoding {kind}", tell)
        table[kind] = {
            str(step): decoding.figures(decoding.after(walks, step), texts, documents)
            for step in decoding.STEPS
        }
        again = engine.embed(decoding.after(walks, 1).texts).numpy()
        gaps[kind] = intervals.mean(lvm_metrics.round_trip_gap(vectors[kind], again, truth), documents)
    return {"decode": table, "round_trip": gaps}


def _requests(
    sample: Sample,
    engine: Engine,
    snap: SnapEngine,
    measured: Mapping[str, lvm.Measured],
    routes: Sequence[str],
    options: Options,
    tell: Tell,
) -> dict[str, object]:
    targets = sample.spread(options.requests)
    outcomes = {}
    for route in routes:
        if route_named(route).has_lvm:
            predictions = _of(measured[route], sample, targets)
            requests = ladder.snapped(snap, "barycentre", predictions, sample, targets)
        else:
            requests = ladder.direct(sample, targets)
        vectors = np.stack([request.vector for request in requests])
        walks = decoding.walk(engine, vectors, f"requests to {route}", tell, max(ladder.RUNGS))
        outcomes[route] = ladder.Outcomes.of(requests, walks, sample.document[targets])
    together = ladder.Outcomes.together(list(outcomes.values()))
    by_route = {route: {"ladder": o.ladder(), **o.figures()} for route, o in outcomes.items()}
    return {"ladder": together.ladder(), **together.figures(), "routes": by_route}


def _of(measured: lvm.Measured, sample: Sample, targets: np.ndarray) -> Array:
    """The predictions for some of the windows."""
    return measured.predictions[np.searchsorted(sample.windows, targets)]


def _best(measured: Mapping[str, lvm.Measured], routes: Sequence[str]) -> str:
    """The route whose predictions rank best; cosine alone would prefer the most mean-like one."""
    return max(routes, key=lambda route: measured[route].scores["mrr"].mean(), default="")
