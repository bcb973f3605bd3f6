"""The project's own engine, exact in single precision.

Layers whose weights were shipped in 8 bits are read as such where the machine can: a quarter of the bytes
for the same product.
"""

import torch

from nextvec.family import Family
from services.decoder.backends import Backend, Task
from services.decoder.checkpoint import Checkpoint, text_tokenizer, texts_digest
from services.decoder.draft import Drafts
from services.decoder.generation import Generation
from services.decoder.inversion import Corrector, Inverter
from services.layers import CodesOf, exact

WEIGHT_BYTES = 4
"""Of every weight that a decoder pass reads, where weights were not shipped in 8 bits."""


class Native:
    """Own inference modules, one key-value cache for each model, drafts verified in corrections."""

    def __init__(
        self,
        inverter: Checkpoint,
        corrector: Checkpoint,
        family: Family,
        slots: int,
        precision: str,
        codes: tuple[CodesOf, CodesOf],
    ):
        """`codes` are for encoder and decoder; reduced ones have a name for their `precision`."""
        self.tokenizer = text_tokenizer(family)
        self.limit = corrector.limit
        self.digest = texts_digest(family, inverter, corrector) + precision
        self._inverter, self._corrector = Inverter(inverter), Corrector(corrector)
        self._inverter.make_fast(*codes, self.limit)
        self._corrector.make_fast(*codes, self.limit)
        self._first: Generation[Task] = Generation(self._inverter, slots, self.limit, self._inverter.memory)
        self._better: Generation[Task] = Generation(
            self._corrector, slots, self.limit, self._corrector.prefix + self.limit
        )
        self.passes = self._better.passes

    @torch.inference_mode()
    def start(self, tasks: list[Task]) -> None:
        firsts = [task for task in tasks if task.hypothesis_vector is None]
        if firsts:
            states, mask = self._inverter.read(torch.stack([task.vector for task in firsts]))
            self._first.join(firsts, states, mask, [Drafts() for _ in firsts])
        corrections = [task for task in tasks if task.hypothesis_vector is not None]
        if corrections:
            states, mask = self._corrector.read(
                torch.stack([task.vector for task in corrections]),
                [task.hypothesis for task in corrections],
                torch.stack([v for task in corrections if (v := task.hypothesis_vector) is not None]),
            )
            self._better.join(corrections, states, mask, [_drafts(task) for task in corrections])

    def stop(self, task: Task) -> None:
        self._first.leave(task)
        self._better.leave(task)

    @torch.inference_mode()
    def advance(self) -> list[tuple[Task, list[int]]]:
        return self._first.advance() + self._better.advance()


def _drafts(task: Task) -> Drafts:
    return Drafts(*(ids[1:] for ids in (task.hypothesis, *task.earlier)))


def load(
    family: Family, slots: int, precision: str = "", codes: tuple[CodesOf, CodesOf] = (exact, exact)
) -> Backend:
    """Loads the family's inverter and corrector; raises WeightsError where they are not usable."""
    inverter, corrector = Checkpoint.load("inverter", family), Checkpoint.load("corrector", family)
    return Native(inverter, corrector, family, slots, precision, codes)
