"""The last resort: a sentence that somebody wrote, the nearest to the vector that could not be decoded."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nextvec.chunking import chunk
from nextvec.family import Family
from nextvec.vectors import cosine

Texts = str | tuple[str, ...]
"""A source as a whole, or sentences."""

KEPT = 256
"""Texts, or lists of them, whose vectors are kept, so that a repeated request need not embed them again."""

MAX_CHUNKS = 128
"""Chunks of a source that are considered, from its beginning."""


@dataclass(frozen=True)
class Quotation:
    """A sentence, and the cosine of its vector to the one decoded."""

    text: str
    cosine: float


@dataclass(frozen=True)
class Quotable:
    """Sentences and their raw vectors [C, D]."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]

    def nearest(self, vector: NDArray[np.float32]) -> Quotation:
        """The sentence nearest to a vector [D]."""
        cosines = cosine(self.vectors, vector)
        best = int(np.argmax(cosines))
        return Quotation(self.texts[best], float(cosines[best]))


class Quotations:
    """Makes texts quotable, and remembers those of late."""

    def __init__(self, family: Family, embed: Callable[[Sequence[str]], Tensor]) -> None:
        self._family = family
        self._embed = embed
        self._kept: OrderedDict[Texts, Quotable | None] = OrderedDict()

    async def of(self, texts: Texts) -> Quotable | None:
        """The chunks of a source, or sentences as they are; None where there are none.

        Texts that are not remembered are embedded off the event loop.
        """
        if texts not in self._kept:
            self._kept[texts] = await asyncio.to_thread(self._make, texts)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(texts)
        return self._kept[texts]

    def _make(self, texts: Texts) -> Quotable | None:
        sentences = self._chunks(texts) if isinstance(texts, str) else texts
        return Quotable(sentences, self._embed(sentences).numpy()) if sentences else None

    def _chunks(self, source: str) -> tuple[str, ...]:
        return tuple(chunk(source, self._family.count_tokens, self._family.token_limit)[:MAX_CHUNKS])
