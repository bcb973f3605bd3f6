"""Projection over a bank of the original's size, and the share of the true neighbours it finds."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import machine
from benchmarks.bars import BARS
from benchmarks.harness import Options, Spread, interleaved
from benchmarks.results import Result, figure, held
from nextvec.vectors import Array, unit
from services.snap.bank import Bank
from services.snap.engine import ProjectItem, SearchItem, SnapEngine
from services.snap.projection import NEIGHBOURS
from services.snap.writing import write_bank

FULL = 339_615
"""Vectors of the original's bank, for which the bars are; with fewer, they are held to nothing."""

_DIMENSIONS = 768
_CHUNKS = 40
"""Chunks of a document."""

_ALIKE = 0.4
"""Cosine of chunks of a document, as neighbouring sentences have."""

_QUERIES = 200
_SPACE = "random-000000000000"
_GIB = 2**30
_COPIES = 6
"""Single-precision copies of the bank in memory at once while it is built, index and disk cache included."""


def run(options: Options) -> list[Result]:
    """A bank of random documents, queried with what a model predicts: vectors near those that are there."""
    count = 2000 if options.quick else options.vectors
    need = _COPIES * 4 * count * _DIMENSIONS
    free = machine.free_memory()
    if free is not None and free < need:
        options.say(
            f"snap: left out: {free / _GIB:.1f} GiB are free, {count:,} vectors need {need / _GIB:.1f}"
        )
        return []
    options.say(f"snap: building a bank of {count:,} random vectors")
    random = np.random.default_rng(0)
    vectors = _documents(count, random)
    with TemporaryDirectory(prefix="nextvec-bench-") as folder:
        texts = [f"chunk {row}" for row in range(count)]
        names = [f"document {row // _CHUNKS}" for row in range(count)]
        write_bank(Path(folder), vectors, texts, names, [row % _CHUNKS for row in range(count)], space=_SPACE)
        opening = interleaved({"open": lambda turn: Bank.open(Path(folder))}, 1, warmup=0)["open"]
        engine = SnapEngine(Bank.open(Path(folder)))
        return _measure(engine, vectors, opening[0], random, options)


def _measure(
    engine: SnapEngine, vectors: Array, opening: float, random: np.random.Generator, options: Options
) -> list[Result]:
    count = len(vectors)
    chosen = random.choice(count, _QUERIES, replace=count < _QUERIES)
    noise = random.standard_normal((_QUERIES, _DIMENSIONS), dtype=np.float32)
    queries = unit(unit(vectors[chosen]) + 0.8 * unit(noise))
    items = [ProjectItem(query, query, query[None]) for query in queries]
    options.say(f"snap: {_QUERIES} queries")
    seconds = interleaved(
        {"project": lambda turn: engine.project(items[turn % _QUERIES])}, options.rounds(500), warmup=10
    )["project"]
    found = [[n.entry.id for n in engine.search(SearchItem(query)).neighbours] for query in queries]
    true = _nearest(vectors, queries)
    recall = float(
        np.mean(
            [len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in zip(found, true, strict=True)]
        )
    )
    spread = Spread.of(seconds).times(1000)
    opened = figure("snap_open", "snap", f"opening a bank of {count:,}", opening, "s")
    if count == FULL:
        return [held("snap_project", spread), held("snap_recall", recall), opened]
    smaller = f"{count:,} vectors instead of {FULL:,}"
    return [
        figure(f"{name}_of_{count}", "snap", f"{BARS[name].what}; {smaller}", value, BARS[name].unit)
        for name, value in (("snap_project", spread), ("snap_recall", recall))
    ] + [opened]


def _documents(count: int, random: np.random.Generator) -> Array:
    """Vectors [count, D] in documents: chunks of one are alike, those of others are not."""
    vectors = random.standard_normal((count, _DIMENSIONS), dtype=np.float32)
    vectors *= np.float32((1 - _ALIKE) ** 0.5)
    for start in range(0, count, _CHUNKS):
        topic = random.standard_normal(_DIMENSIONS, dtype=np.float32)
        vectors[start : start + _CHUNKS] += np.float32(_ALIKE**0.5) * topic
    return vectors


def _nearest(vectors: Array, queries: Array) -> list[list[int]]:
    """Rows of the nearest vectors of each query by brute force, in blocks that fit into memory."""
    block = 65_536
    cosines = [unit(vectors[start : start + block]) @ queries.T for start in range(0, len(vectors), block)]
    rows: list[list[int]] = np.argsort(-np.concatenate(cosines), axis=0)[:NEIGHBOURS].T.tolist()
    return rows
