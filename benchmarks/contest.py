"""The project's decoder engines against the vec2text library on one family, taking turns in one process."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.bars import BARS
from benchmarks.harness import Options, Spread, interleaved, speedup
from benchmarks.results import Result, figure, held
from nextvec.errors import NextvecError, StartupError
from nextvec.family import Family
from services.decoder.backends import BACKENDS
from services.decoder.engine import Engine

LIBRARY = "vec2text_library"
EXACT = "native"
BATCH = 8


@dataclass(frozen=True)
class Contest:
    """Engines by backend, the library, and the vectors [N, D], N ≥ 8, that all of them decode."""

    name: str  # in names of figures
    title: str
    engines: dict[str, Engine]
    library: Any
    vectors: Tensor

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        family: Family,
        options: Options,
        vectors: Callable[[Engine], Tensor],
    ) -> "Contest":
        """Loads the family into every backend that can be loaded here, and says which can not.

        Raises StartupError without the library.
        """
        options.say(f"decode: loading {title} into the library and {', '.join(own_backends())}")
        try:
            library = BACKENDS.load(LIBRARY).load(family, BATCH)
        except ModuleNotFoundError as error:
            raise StartupError(
                f"the vec2text library is not there ({error.name} is missing): pip install -e '.[reference]'"
            ) from error
        engines = {}
        for backend in own_backends():
            try:
                engines[backend] = Engine.load(family, backend, BATCH)
            except (NextvecError, ImportError) as error:
                options.say(f"decode: backend {backend} is left out: {error}")
        if EXACT not in engines:
            raise StartupError(f"the backend {EXACT!r} cannot be loaded; nothing can be held to it")
        return cls(name, title, engines, library, vectors(engines[EXACT]))

    def speed(
        self, rounds: int, options: Options, candidates: Collection[str]
    ) -> tuple[list[Result], str, list[float]]:
        """Figures of one step, of a batch, and of the ladder; the fastest backend, its seconds a step.

        The ladder goes from a vector to five corrections. The library starts anew at every rung. The fastest
        is one of the `candidates`, the exact one among them; the others show their speed.
        """
        race = partial(self._race, options=options, candidates=candidates)
        few = max(3, rounds // 2)
        title = f"{self.title}, one step, batch 1"
        step, fastest, seconds = race("step1", title, rounds, self._one, (1,), 1)
        title = f"{self.title}, one step, batch {BATCH}"
        batch, _, _ = race("batch8", title, few, self._several, (1,), 1)
        title = f"{self.title}, five steps, batch 1, the library's 1, then 3, then 5"
        ladder, _, _ = race("ladder", title, few, self._one, (1, 3, 5), 5)
        return [*step, *batch, *ladder], fastest, seconds

    def equal(self, steps: int) -> Result:
        """Share of the texts of all steps that exact engine and library have in common, token for token."""
        vectors = self.vectors[:BATCH]
        reference = self.library.hypotheses(vectors, steps)
        walks = self.engines[EXACT].run(vectors, steps)
        same = [
            list(walk.at(step).ids) == reference[step][row]
            for step in range(steps + 1)
            for row, walk in enumerate(walks)
        ]
        what = f"{self.title}: texts equal to the library's, steps 0 to {steps}, share"
        return figure(f"{self.name}_equal_texts", "decode", what, sum(same) / len(same), "")

    def _one(self, turn: int) -> Tensor:
        place = turn % len(self.vectors)
        return self.vectors[place : place + 1]

    def _several(self, turn: int) -> Tensor:
        return self.vectors[(torch.arange(BATCH) + turn) % len(self.vectors)]

    def _race(
        self,
        task: str,
        title: str,
        rounds: int,
        vectors: Callable[[int], Tensor],
        restarts: tuple[int, ...],
        steps: int,
        *,
        options: Options,
        candidates: Collection[str],
    ) -> tuple[list[Result], str, list[float]]:
        def reference(turn: int) -> None:
            for until in restarts:
                self.library.invert(vectors(turn), until)

        def ours(engine: Engine, turn: int) -> None:
            engine.run(vectors(turn), steps)

        options.say(f"decode: {title}")
        sides: dict[str, Callable[[int], object]] = {LIBRARY: reference}
        sides |= {backend: partial(ours, engine) for backend, engine in self.engines.items()}
        seconds = interleaved(sides, options.rounds(rounds))
        medians = {backend: Spread.of(seconds[backend]).median for backend in self.engines}
        fastest = min(medians.keys() & candidates, key=lambda backend: medians[backend])
        start = f"{self.name}_{task}"
        results = [
            figure(f"{start}_{side}_ms", "decode", f"{title}: {side}", Spread.of(found).times(1000), "ms")
            for side, found in seconds.items()
        ]
        for backend in self.engines:
            ratio = speedup(seconds[LIBRARY], seconds[backend])
            results.append(
                figure(f"{start}_{backend}", "decode", f"{title}: library / {backend}", ratio, "×")
            )
        for way, backend in (("exact", EXACT), ("fastest", fastest)):
            ratio = speedup(seconds[LIBRARY], seconds[backend])
            results.append(_ratio(f"{start}_{way}", f"{title}: library / {way}", ratio, f"by {backend}"))
        return results, fastest, seconds[fastest]


def own_backends() -> list[str]:
    """Backends that are the project's own."""
    return [name for name in BACKENDS.names() if name != LIBRARY]


def _ratio(name: str, what: str, found: Spread, note: str) -> Result:
    if name in BARS:
        return held(name, found, note)
    return figure(name, "decode", f"{what}; {note}", found, "×")
