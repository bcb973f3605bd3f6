"""The index of a bank: exact while it is small, approximate beyond, with the recall that was measured.

Up to EXACT_UP_TO entries every query is compared with every entry. Beyond, entries are sorted into lists
around centroids (IVF) and held as 4-bit product-quantised codes, one byte for eight dimensions: the lists
nearest to a query are scanned in the processor's registers, and the best candidates are compared again with
the bank's own vectors, read from the memory-mapped file. So the cosines that are answered are exact, and only
a neighbour that never became a candidate is missed. The codes of 339,615 entries take 33 MB and are read
into memory; the vectors, 522 MB, stay on disk.

Measured on 339,615 chunks of text, 1,024 lists, one thread, processor time with other work beside it, for the
16 nearest to the mean of five chunks of other documents / to an LSTM's prediction (recall, milliseconds):

    lists probed   64          128         256
    128 kept       .978 .974   .990 .978   .992 .979   1.2 to 1.9 ms
    256 kept       .984 .991   .996 .995   .999 .996   1.4 to 2.1 ms

Training took 9 s, adding 12 s. The codes alone would not do: it is the exact comparison of the candidates
that lifts recall, and more candidates help a regressed prediction more than more lists do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import faiss
import numpy as np

from nextvec.vectors import Array, unit

Kind = Literal["exact", "ivf"]

EXACT_UP_TO = 10_000
"""Entries up to which all are compared: nothing is missed, nothing is trained, and it is quick enough.

Processor time of a query, one thread, made-up vectors: at 5,000 entries .8 ms against .7 of an approximate
search, at 10,000 1.9 ms against .8.
"""

RECALL_OF = 16
"""Neighbours of which recall is the share found: those of a projection."""

_TARGET = 0.985  # recall from which on no more lists are probed
_QUERIES = 200  # to measure recall with
_WINDOW = 5  # chunks whose mean is such a query, as a prediction is near the mean of its context
_PER_LIST = 40  # entries that a centroid is trained on
_BLOCK = 16_384  # rows held in single precision at a time
_LEAST_CANDIDATES = 256
_CANDIDATES_PER_NEIGHBOUR = 2


@dataclass(frozen=True)
class IndexRecord:
    """What is known about an index: how it searches, and how much it finds."""

    kind: Kind = "exact"
    lists: int = 0
    probes: int = 0  # lists scanned for a query
    recall: float = 1.0  # share of the RECALL_OF nearest that are found
    queries: int = 0  # that the recall is a mean over; an exact index needs none


class Index:
    """Nearest entries by cosine. Searching is safe from several threads at once."""

    def __init__(self, index: faiss.Index, vectors: np.ndarray, record: IndexRecord) -> None:
        """`vectors` [N, D] float16 are those that were indexed, in the same order."""
        self._index = index
        self._vectors = vectors
        self.record = record

    @classmethod
    def read(cls, path: Path, vectors: np.ndarray, record: IndexRecord) -> "Index":
        """Reads an index; raises ValueError where the file is none or not one of these vectors."""
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} is no index ({error})") from error
        if (index.ntotal, index.d) != vectors.shape:
            raise ValueError(f"{path} has {index.ntotal} entries of {index.d} dimensions")
        if (record.kind == "ivf") != isinstance(index, faiss.IndexIVF):
            raise ValueError(f"{path} is not of the kind {record.kind!r}")
        return cls(index, vectors, record)

    def search(self, directions: Array, k: int) -> tuple[Array, np.ndarray]:
        """The k entries nearest to each direction [Q, D]: cosines [Q, k] and rows [Q, k], best first.

        Where there are fewer than k entries, all of them.
        """
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        k = min(k, len(self._vectors))
        if self.record.kind == "exact":
            cosines, rows = self._index.search(directions, k)
            return cosines, rows
        return self._approximate(directions, k, self.record.probes)

    def _approximate(self, directions: Array, k: int, probes: int) -> tuple[Array, np.ndarray]:
        wanted = min(max(_LEAST_CANDIDATES, _CANDIDATES_PER_NEIGHBOUR * k), len(self._vectors))
        # As many lists as hold the candidates several times over, where many are asked for.
        needed = -(-4 * wanted * self.record.lists // len(self._vectors))
        probed = faiss.IVFSearchParameters()
        probed.nprobe = min(max(probes, needed), self.record.lists)
        candidates = self._index.search(directions, wanted, params=probed)[1]  # -1 where lists hold too few
        cosines = np.empty((len(directions), k), dtype=np.float32)
        rows = np.empty((len(directions), k), dtype=np.int64)
        for i, direction in enumerate(directions):
            found = candidates[i][candidates[i] >= 0]
            if len(found) < k:
                cosines[i : i + 1], rows[i : i + 1] = exact_nearest(self._vectors, direction[None], k)
                continue
            near = self._vectors[found].astype(np.float32)
            exact = near @ direction / np.sqrt(np.einsum("nd,nd->n", near, near))
            best = np.argsort(-exact)[:k]
            cosines[i], rows[i] = exact[best], found[best]
        return cosines, rows


@dataclass(frozen=True)
class IndexProgress:
    """How far the making of an index has come."""

    step: str
    done: int
    total: int


def build_index(vectors: np.ndarray, path: Path) -> Iterator[IndexProgress | IndexRecord]:
    """Writes the index of raw vectors [N, D] float16, which may lie on disk; yields its record last.

    Memory is bounded by what the index keeps and a sample: of 339,615 × 768, some 250 MB.
    """
    count, dimensions = vectors.shape
    index: faiss.Index = faiss.IndexFlatIP(dimensions)
    lists = 0
    if count > EXACT_UP_TO:
        lists = 1 << round(np.log2(2 * count**0.5))
        yield IndexProgress("training the index", 0, count)
        index = _trained(vectors, lists)
    for start in range(0, count, _BLOCK):
        index.add(unit(vectors[start : start + _BLOCK]))
        yield IndexProgress("indexing", min(start + _BLOCK, count), count)
    record = IndexRecord()
    if lists:
        yield IndexProgress("measuring recall", 0, count)
        record = _measured(index, vectors, lists)
    faiss.write_index(index, str(path))
    yield record


def exact_nearest(vectors: np.ndarray, directions: Array, k: int) -> tuple[Array, np.ndarray]:
    """The k of raw vectors [N, D] nearest to each direction [Q, D], by comparing all of them in blocks.

    Gives cosines [Q, k] and rows [Q, k], best first.
    """
    cosines = np.empty((len(directions), 0), dtype=np.float32)
    rows = np.empty((len(directions), 0), dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        near = directions @ unit(vectors[start : start + _BLOCK]).T  # [Q, block]
        numbers = np.broadcast_to(np.arange(start, start + near.shape[1]), near.shape)
        cosines, rows = np.hstack([cosines, near]), np.hstack([rows, numbers])
        if cosines.shape[1] > k:
            best = np.argpartition(-cosines, k, axis=1)[:, :k]
            cosines, rows = np.take_along_axis(cosines, best, 1), np.take_along_axis(rows, best, 1)
    order = np.argsort(-cosines, axis=1)
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(rows, order, 1)


def _trained(vectors: np.ndarray, lists: int) -> faiss.Index:
    count, dimensions = vectors.shape
    index = faiss.index_factory(dimensions, f"IVF{lists},PQ{dimensions // 4}x4fs", faiss.METRIC_INNER_PRODUCT)
    sample = np.random.default_rng(0).choice(count, min(_PER_LIST * lists, count), replace=False)
    index.train(unit(vectors[np.sort(sample)]))
    return index


def _measured(index: faiss.Index, vectors: np.ndarray, lists: int) -> IndexRecord:
    """Record with as few probes as reach the recall that is aimed at.

    A query is the mean of consecutive chunks, which are left out of what is to be found: they are the
    nearest, and easy.
    """
    starts = np.random.default_rng(0).choice(len(vectors) - _WINDOW, _QUERIES)
    own = starts[:, None] + np.arange(_WINDOW)  # [Q, window]
    queries = unit(unit(vectors[own]).mean(1))
    true = _others(exact_nearest(vectors, queries, RECALL_OF + _WINDOW)[1], own)
    probes = max(1, lists // 64)
    while True:
        record = IndexRecord("ivf", lists, probes, 0.0, _QUERIES)
        found = _others(Index(index, vectors, record).search(queries, RECALL_OF + _WINDOW)[1], own)
        shares = [np.isin(wanted, rows).mean() for wanted, rows in zip(true, found, strict=True)]
        recall = round(float(np.mean(shares)), 4)
        if recall >= _TARGET or probes == lists:
            return replace(record, recall=recall)
        probes = min(lists, -(-probes * 3 // 2))


def _others(rows: np.ndarray, own: np.ndarray) -> list[np.ndarray]:
    """The first RECALL_OF of each query's rows [Q, n] that are not its own [Q, window]."""
    return [found[~np.isin(found, mine)][:RECALL_OF] for found, mine in zip(rows, own, strict=True)]
