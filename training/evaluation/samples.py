"""The chunks that an evaluation looks at: some documents, a run of chunks from each, and their vectors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nextvec.errors import InvalidInput
from nextvec.family import Family
from nextvec.vectors import Array
from services.families.embedder import Embedder
from training.corpus import chunk_rows, encode_texts
from training.documents import Document, share_of
from training.sequences import CONTEXT

Tell = Callable[[str, int, int], None]
"""Hears of progress: what is being done, how much of it is, and how much there is."""

_ENCODED = 512  # chunks between two reports of progress


@dataclass(frozen=True)
class Sample:
    """Chunks in reading order, document after document.

    `vectors` [N, D] are raw; `document` [N] numbers the documents, whose ids are `names`; `position` [N]
    counts from the first chunk taken of a document.
    """

    texts: list[str]
    vectors: Array
    document: np.ndarray
    position: np.ndarray
    names: list[str]

    @classmethod
    def draw(
        cls,
        documents: Iterable[Document],
        family: Family,
        embedder: Embedder,
        *,
        limit: int,
        chunks: int,
        tell: Tell = lambda what, done, total: None,
    ) -> "Sample":
        """At most `limit` documents, chosen by a hash of their id, and at most `chunks` in a row of each.

        Where a run begins in its document depends on the id too. Documents without a window are passed
        over. Raises InvalidInput where all are.
        """
        texts: list[str] = []
        numbers: list[int] = []
        places: list[int] = []
        names: list[str] = []
        for document in sorted(documents, key=lambda d: share_of(d.id, "evaluation")):
            if len(names) == limit:
                break
            rows = [str(row["text"]) for row in chunk_rows(document, family)]
            start = int(share_of(document.id, "start") * (max(0, len(rows) - chunks) + 1))
            run = rows[start : start + chunks]
            if len(run) > CONTEXT:
                texts += run
                numbers += [len(names)] * len(run)
                places += range(len(run))
                names.append(document.id)
        if not names:
            raise InvalidInput(f"no document has more than {CONTEXT} chunks; give longer ones")
        blocks = []
        for begin in range(0, len(texts), _ENCODED):
            blocks.append(encode_texts(embedder, texts[begin : begin + _ENCODED]))
            tell("encoding", min(begin + _ENCODED, len(texts)), len(texts))
        vectors = np.concatenate(blocks).astype(np.float32)
        return cls(texts, vectors, np.array(numbers), np.array(places), names)

    @property
    def windows(self) -> np.ndarray:
        """Rows [W] that have a whole context before them: the targets."""
        return np.flatnonzero(self.position >= CONTEXT)

    def contexts(self, targets: np.ndarray) -> Array:
        """Raw contexts [W, 5, D] of targets [W], oldest first."""
        return self.vectors[targets[:, None] + np.arange(-CONTEXT, 0)]

    def context_texts(self, target: int) -> list[str]:
        """The five texts before a target."""
        return self.texts[target - CONTEXT : target]

    def spread(self, count: int) -> np.ndarray:
        """At most `count` of the windows, evenly over all documents."""
        windows = self.windows
        picked = np.linspace(0, len(windows), min(count, len(windows)), endpoint=False)
        return windows[picked.astype(np.int64)]
