"""The encoded parts of a corpus: which ones a training uses, their digest, and their vectors."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nextvec import weights
from training import corpus
from training.sequence_npz import SequencesError


class Mapped:
    """Rows of several .npy files [n, D], the first `limit` of them, read from disk as they are asked for."""

    def __init__(self, paths: list[Path], limit: int | None = None):
        self._files = [np.load(path, mmap_mode="r") for path in paths]
        self._starts = np.cumsum([0, *map(len, self._files)])
        rows = int(self._starts[-1])
        self.shape = (rows if limit is None else min(limit, rows), self._files[0].shape[1])
        self.dtype = self._files[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Rows [...] by number → vectors [..., D]."""
        out = np.empty((*rows.shape, self.shape[1]), dtype=self.dtype)
        of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(of):
            inside = of == number
            out[inside] = self._files[number][rows[inside] - self._starts[number]]
        return out

    def read(self) -> np.ndarray:
        """All rows [N, D] in memory, held once but for those of the file that is being read."""
        return self[np.arange(len(self))]


def parts(folder: Path, limit: int | None = None) -> list[Path]:
    """The Parquet files of a corpus that together hold its first `limit` chunks, or all of them.

    Raises SequencesError where there is none, and where one has no vectors beside it or not as many as
    chunks.
    """
    found: list[Path] = []
    chunks = 0
    for part in corpus.parts(folder):
        if limit is not None and chunks >= limit:
            break
        if not vectors_of(part).is_file():
            raise SequencesError(f"{part} has no vectors beside it; encode the corpus first")
        rows, vectors = pq.read_metadata(part).num_rows, len(np.load(vectors_of(part), mmap_mode="r"))
        if rows != vectors:
            raise SequencesError(
                f"{part} has {rows} chunks, {vectors} vectors; remove its .npy file and encode again"
            )
        chunks += rows
        found.append(part)
    if not found:
        raise SequencesError(f"{folder} holds no part-*.parquet; build a corpus there first")
    return found


def digest(used: Iterable[Path]) -> str:
    """SHA-256 over parts and their vectors."""
    total = hashlib.sha256()
    for path in (file for part in used for file in (part, vectors_of(part))):
        total.update(weights.sha256(path).encode())
    return total.hexdigest()


def vectors_of(part: Path) -> Path:
    """The place of a part's vectors."""
    return part.with_suffix(".npy")


def space_of(folder: Path) -> str:
    """The space of a corpus' vectors; empty where the folder does not say."""
    record = folder / corpus.VECTORS
    return str(json.loads(record.read_text(encoding="utf-8"))["space"]) if record.is_file() else ""
