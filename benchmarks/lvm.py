"""Milliseconds per query of every route's network, as the stage runs it.

The networks have their production sizes and weights drawn at random: a prediction takes the same time
whatever the weights are, and so no trained model is needed.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.harness import Options, Spread, interleaved
from benchmarks.results import Result, figure, held
from nextvec.routes import ROUTES
from services.lvm import checkpoint
from services.lvm.checkpoint import CONTEXT
from services.lvm.engine import Contexts, LvmEngine
from services.lvm.registry import ARCHITECTURE_OF, ModelCard, Source, promote

_SPACE = "random-000000000000"
_DIMENSIONS = 768
_ROUNDS = 200
_CALLS = 5
"""Predictions of one round: a single one is too short to be timed well."""


def run(options: Options) -> list[Result]:
    """Batches of 1 and 32, computed by one thread as in a system whose stages share a machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory(prefix="nextvec-bench-") as folder:
            engine = LvmEngine(_models(Path(folder)), _SPACE)
            try:
                return [result for batch in (1, 32) for result in _batch(engine, batch, options)]
            finally:
                engine.close()
    finally:
        torch.set_num_threads(threads)


def _batch(engine: LvmEngine, batch: int, options: Options) -> list[Result]:
    routes = [route.name for route in ROUTES if route.has_lvm]
    random = np.random.default_rng(0)
    contexts = random.standard_normal((batch, CONTEXT, _DIMENSIONS)).astype(np.float32)

    def predict(route: str, turn: int) -> None:
        for _ in range(_CALLS):
            engine.predict([Contexts(route, contexts)])

    options.say(f"lvm: batch {batch}, {len(routes)} routes")
    sides = {route: partial(predict, route) for route in routes}
    seconds = interleaved(sides, options.rounds(_ROUNDS), warmup=3)
    results = []
    for route in routes:
        spread = Spread.of(seconds[route]).times(1000 / _CALLS / batch)
        name, what = f"lvm_{route.replace('-', '_')}_batch{batch}", f"{route}, batch {batch}, per query"
        barred = batch == 1 and route == ARCHITECTURE_OF[route]
        results.append(held(name, spread) if barred else figure(name, "lvm", what, spread, "ms"))
    return results


def _models(folder: Path) -> Path:
    """A models folder in which every route is answered."""
    torch.manual_seed(0)
    for route, architecture in ARCHITECTURE_OF.items():
        card = ModelCard(
            architecture=architecture,
            hyperparameters=checkpoint.hyperparameters_of(architecture, {}),
            space=_SPACE,
            trained_on=(Source("none: weights drawn at random, for timing", "none", 0, 0),),
            data_sha256="0" * 64,
            windows=0,
            config={},
        )
        saved = checkpoint.save(folder, route, checkpoint.build(architecture).eval(), card)
        promote(saved, route)
    return folder
