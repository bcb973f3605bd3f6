"""The models of all routes: loaded at the start, exchanged when another one is promoted, run in batches."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from nextvec.errors import NextvecError
from nextvec.logs import get_log
from nextvec.routes import ROUTES
from nextvec.vectors import Array
from services.lvm.checkpoint import load, predict
from services.lvm.registry import ModelCard, ModelError, production

log = get_log(__name__)


@dataclass(frozen=True)
class Contexts:
    """What one request asks: contexts [N, 5, D] of vectors of any length, for a route."""

    route: str
    vectors: Array


@dataclass(frozen=True)
class Prediction:
    """Raw predictions [N, D], and the id of the model that made them."""

    vectors: Array
    model_id: str


@dataclass(frozen=True)
class _Running:
    folder: Path
    model: nn.Module
    card: ModelCard


class LvmEngine:
    """Predicts with the production models of a folder. `predict` must not run in two threads at once."""

    def __init__(self, models: Path, space: str, device: str = "cpu") -> None:
        self._models = models
        self._space = space
        self._device = device
        self._running: dict[str, _Running] = {}
        self._coming: dict[str, tuple[Path, Future[_Running]]] = {}
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lvm loader")

    def preload(self) -> dict[str, str]:
        """Loads the production models of all routes at once; returns, by route, why one cannot be had.

        A model that is loaded by its first request makes that request wait longer than the gateway does. A
        route without a model fails its own requests only, and asks for one again with each of them.
        """
        routes = [route.name for route in ROUTES if route.has_lvm]
        missing = {}
        with ThreadPoolExecutor(len(routes), thread_name_prefix="lvm preload") as pool:
            for route, loading in [(route, pool.submit(self._first, route)) for route in routes]:
                try:
                    self._running[route] = loading.result()
                except NextvecError as error:
                    missing[route] = error.message
                    log.error("route has no model", route=route, reason=error.message)
        log.info("models preloaded", routes=sorted(self._running), missing=sorted(missing))
        return missing

    def predict(self, items: Sequence[Contexts]) -> list[Prediction]:
        """Predictions for items of one route, computed together.

        Raises UnknownRoute, ModelError or WrongSpace where the route's model cannot be run.
        """
        running = self._current(items[0].route)
        predicted = predict(running.model, np.concatenate([item.vectors for item in items]))
        ends = np.cumsum([len(item.vectors) for item in items])[:-1]
        return [Prediction(vectors, running.card.id) for vectors in np.split(predicted, ends)]

    def cards(self) -> list[tuple[str, ModelCard, bool]]:
        """Route, card, and whether it is loaded, of every production model whose card can be read."""
        found = []
        for route in (route.name for route in ROUTES if route.has_lvm):
            try:
                folder = production(self._models, route)
                card = ModelCard.read(folder)
            except ModelError as error:
                log.warning("model cannot be listed", route=route, reason=error.message)
                continue
            running = self._running.get(route)
            found.append((route, card, running is not None and running.folder == folder))
        return found

    @property
    def running(self) -> list[tuple[str, ModelCard]]:
        """Route and card of every model in memory."""
        return [(route, running.card) for route, running in self._running.copy().items()]

    def close(self) -> None:
        """Ends the thread that loads promoted models."""
        self._loader.shutdown(cancel_futures=True)

    def _current(self, route: str) -> _Running:
        running = self._running.get(route)
        if running is None:
            running = self._running[route] = self._first(route)
            return running
        try:
            promoted = production(self._models, route)
        except NextvecError:
            return running  # a link that has gone does not stop what runs
        if promoted == running.folder:
            self._coming.pop(route, None)  # taken back; promoted once more, it is loaded anew
        else:
            self._exchange(route, promoted)
        return self._running[route]

    def _first(self, route: str) -> _Running:
        return self._load(production(self._models, route))

    def _exchange(self, route: str, promoted: Path) -> None:
        """Has a promoted model loaded, and puts it in place once it is; the present one answers meanwhile."""
        folder, coming = self._coming.get(route, (None, None))
        if coming is None or folder != promoted:
            # One that failed stays here until the link changes, so that not every batch tries it again.
            self._coming[route] = promoted, self._loader.submit(self._load, promoted)
        elif coming.done() and coming.exception() is None:
            self._running[route] = coming.result()
            del self._coming[route]

    def _load(self, folder: Path) -> _Running:
        try:
            model, card = load(folder, self._space, self._device)
        except Exception as error:
            log.error("model refused", folder=str(folder), reason=str(error))
            raise
        log.info("model loaded", model=card.id, architecture=card.architecture)
        return _Running(folder, model, card)
