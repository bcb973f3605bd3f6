"""Windows over encoded documents: five vectors in a row and the one that follows."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from nextvec import weights
from nextvec.vectors import Array
from services.lvm.checkpoint import CONTEXT
from training import corpus
from training.documents import share_of


class SequencesError(ValueError):
    """A corpus has no windows, or is not encoded."""


class Origin(NamedTuple):
    """Where a document comes from."""

    source: str
    licence: str


@dataclass(frozen=True)
class Sequences:
    """Windows over one array of vectors, which all views of it share.

    A window is the row of its target; its context is the CONTEXT rows before, all of the same document.
    """

    vectors: np.ndarray  # [N, D] float16, raw
    scale: np.ndarray  # [N] float32: 1 / norm
    document: np.ndarray  # [N] int32: number of each row's document
    ids: list[str]  # of the documents
    origins: list[Origin]  # of the documents
    windows: np.ndarray  # [W] int64: rows of the targets
    digest: str  # SHA-256 over the corpus' files

    @classmethod
    def load(cls, folder: Path, limit: int | None = None) -> "Sequences":
        """Every window of an encoded corpus folder, or those of its first parts with `limit` chunks.

        Raises SequencesError where the folder is not a corpus, not encoded, or has no window.
        """
        parts = list(_limited(folder, limit))
        if not parts:
            raise SequencesError(f"{folder} holds no part-*.parquet; build a corpus there first")
        table = [
            pq.read_table(part, columns=["document_id", "position", "source", "licence"]) for part in parts
        ]
        vectors = _stack([part.with_suffix(".npy") for part in parts])
        rows = sum(len(t) for t in table)
        if len(vectors) != rows:
            raise SequencesError(
                f"{folder} has {rows} chunks, {len(vectors)} vectors; remove its .npy files and encode again"
            )
        numbers: dict[str, int] = {}
        origins: list[Origin] = []
        document = np.empty(rows, dtype=np.int32)
        position = np.empty(rows, dtype=np.int64)
        columns = (zip(*(t[c].to_pylist() for c in t.column_names), strict=True) for t in table)
        for row, (name, place, source, licence) in enumerate(entry for part in columns for entry in part):
            if name not in numbers:
                numbers[name] = len(numbers)
                origins.append(Origin(source, licence))
            document[row], position[row] = numbers[name], place
        windows = _windows(document, position)
        if not len(windows):
            raise SequencesError(
                f"{folder} has no document of more than {CONTEXT} chunks; add longer documents"
            )
        digest = hashlib.sha256()
        for path in (p for part in parts for p in (part, part.with_suffix(".npy"))):
            digest.update(weights.sha256(path).encode())
        norms = np.concatenate([np.linalg.norm(v.astype(np.float32), axis=1) for v in _blocks(vectors)])
        scale = 1 / np.maximum(norms, np.finfo(np.float32).tiny)
        return cls(vectors, scale, document, list(numbers), origins, windows, digest.hexdigest())

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def dimensions(self) -> int:
        """Dimension of the vectors."""
        return self.vectors.shape[1]

    def directions(self, windows: np.ndarray) -> tuple[Array, Array]:
        """Unit contexts [B, 5, D], oldest first, and unit targets [B, D] of windows given by index [B]."""
        rows = self.windows[windows][:, None] + np.arange(-CONTEXT, 1)  # [B, 6]
        units = self.vectors[rows].astype(np.float32) * self.scale[rows][..., None]
        return units[:, :CONTEXT], units[:, CONTEXT]

    def split(self, held_out: float) -> tuple["Sequences", "Sequences"]:
        """Windows to train on and windows to validate on, by a hash of their document's id.

        A document is on one side whole: overlapping windows on both would let a model validate on vectors
        that it was trained to predict. `held_out` is the share of documents held out.
        """
        held = np.array([share_of(name, "validation") < held_out for name in self.ids])
        held = held[self.document[self.windows]]
        return replace(self, windows=self.windows[~held]), replace(self, windows=self.windows[held])

    def sources(self) -> Iterator[tuple[Origin, int, int]]:
        """Each origin of the windows with its number of documents and of chunks, largest first."""
        used = np.unique(self.document[self.windows])
        sizes = np.bincount(self.document, minlength=len(self.ids))
        documents, chunks = Counter[Origin](), Counter[Origin]()
        for number in used:
            documents[self.origins[number]] += 1
            chunks[self.origins[number]] += int(sizes[number])
        for origin, count in chunks.most_common():
            yield origin, documents[origin], count


def _limited(folder: Path, limit: int | None) -> Iterator[Path]:
    chunks = 0
    for part in corpus.parts(folder):
        if limit is not None and chunks >= limit:
            return
        if not part.with_suffix(".npy").is_file():
            raise SequencesError(f"{part} has no vectors beside it; encode the corpus first")
        chunks += pq.read_metadata(part).num_rows
        yield part


def _stack(paths: list[Path]) -> np.ndarray:
    """All rows of several .npy files, never held twice."""
    mapped = [np.load(path, mmap_mode="r") for path in paths]
    out = np.empty((sum(map(len, mapped)), mapped[0].shape[1]), dtype=np.float16)
    start = 0
    for block in mapped:
        out[start : start + len(block)] = block
        start += len(block)
    return out


def _blocks(vectors: np.ndarray, rows: int = 16384) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), rows):
        yield vectors[start : start + rows]


def _windows(document: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows whose CONTEXT predecessors are the chunks right before them in the same document."""
    target = np.arange(CONTEXT, len(document))
    first = target - CONTEXT
    whole = (document[first] == document[target]) & (position[target] - position[first] == CONTEXT)
    return target[whole]
