"""Decoder engines; the folder is the registry.

Each module has `load(family, slots) -> Backend`. A backend writes texts with the family's inverter and
corrector; what becomes of them, step after step, is `services.decoder.engine`'s business.
"""

from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer
from torch import Tensor

from nextvec.plugins import PluginFolder
from services.decoder.generation import Passes

BACKENDS = PluginFolder(__name__, "decoder backend")


@dataclass(frozen=True, eq=False)
class Task:
    """One text to write: a first hypothesis for a vector [D], or the correction of a hypothesis.

    The hypothesis is raw ids with the start token, and the vector [D] of its text. Texts like `earlier` ones,
    raw ids too, may come again.
    """

    vector: Tensor
    hypothesis: tuple[int, ...] = ()
    hypothesis_vector: Tensor | None = None
    earlier: tuple[tuple[int, ...], ...] = ()


class Backend(Protocol):
    """Writes greedy texts for many tasks at once."""

    digest: str
    """Changes with any weight and with anything else that may change a text."""

    tokenizer: Tokenizer
    """Of the texts."""

    limit: int
    """Tokens of a text at most, start token included."""

    passes: Passes
    """What decoder passes of corrections have written since the start."""

    def start(self, tasks: list[Task]) -> None:
        """Takes on tasks; all in work together are at most `slots`."""

    def stop(self, task: Task) -> None:
        """Forgets a task that is in work."""

    def advance(self) -> list[tuple[Task, list[int]]]:
        """Does the least unit of work, and returns the tasks that ended in it with their raw ids."""
