"""Projection over a bank of the original's size, and the share of the true neighbours it finds.

The vectors are made up, in the likeness of sentence embeddings of the `mini` family (standardised, measured
on 64,715 chunks of text): a variance that falls off over the dimensions, so that some 140 count of 768;
documents of a subject, so that a chunk has near neighbours in other documents; and chunks that drift within
a document. The queries are what a model predicts at best: the mean of five chunks in a row, of documents that
are not in the bank. Mean cosines, of text and of 64,680 such vectors:

    adjacent chunks            .321   .317
    five apart                 .237   .258
    query and its nearest      .513   .513

Independent random vectors would have no neighbours worth finding, and say nothing about text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import machine
from benchmarks.bars import BARS
from benchmarks.harness import FULL_BANK, Options, Spread, interleaved
from benchmarks.results import Result, figure, held
from nextvec.vectors import Array, unit
from services.snap.bank import Bank
from services.snap.engine import ProjectItem, SearchItem, SnapEngine
from services.snap.index import exact_nearest
from services.snap.projection import NEIGHBOURS
from services.snap.writing import Block, write_blocks

_DIMENSIONS = 768
_CHUNKS = 120
"""Chunks of a document, as the corpus has on average."""

_CONTEXT = 5
_QUERIES = 200
_SPACE = "random-000000000000"
_GIB = 2**30
_NEEDED = 2 * _GIB
"""Memory while the bank is built, disk cache included."""


def run(options: Options) -> list[Result]:
    """A bank of made-up documents, queried with what a model predicts of others of their kind."""
    count = 2000 if options.quick else options.vectors
    free = machine.free_memory()
    if free is not None and free < _NEEDED:
        options.say(f"snap: left out: {free / _GIB:.1f} GiB are free, it needs {_NEEDED / _GIB:.1f}")
        return []
    random = np.random.default_rng(0)
    likeness = _Likeness.draw(random)
    contexts = np.stack([likeness.document(_CONTEXT, random) for _ in range(_QUERIES)])
    with TemporaryDirectory(prefix="nextvec-bench-") as folder:
        building = interleaved({"build": lambda turn: _build(Path(folder), count, likeness, options)}, 1, 0)
        opening = interleaved({"open": lambda turn: Bank.open(Path(folder))}, 1, warmup=0)
        bank = Bank.open(Path(folder))
        extent = f"a bank of {count:,}"
        return [
            *_measure(bank, contexts, options),
            figure("snap_build", "snap", f"making and indexing {extent}", building["build"][0], "s"),
            figure("snap_open", "snap", f"opening {extent}, digests included", opening["open"][0], "s"),
        ]


def _build(folder: Path, count: int, likeness: "_Likeness", options: Options) -> None:
    random = np.random.default_rng(1)

    def blocks() -> Iterator[Block]:
        for start in range(0, count, _CHUNKS):
            rows = range(start, min(start + _CHUNKS, count))
            names = [f"document {start // _CHUNKS}"] * len(rows)
            vectors = likeness.document(len(rows), random)
            yield Block(vectors, [f"chunk {row}" for row in rows], names, range(len(rows)))

    step = ""
    for progress in write_blocks(folder, blocks(), count, space=_SPACE):
        if progress.step != step:
            step = progress.step
            options.say(f"snap: {step}, {count:,} vectors")


def _measure(bank: Bank, contexts: Array, options: Options) -> list[Result]:
    engine = SnapEngine(bank)
    queries = unit(unit(contexts).mean(1))
    items = [ProjectItem(q, c[-1], c) for q, c in zip(queries, contexts, strict=True)]
    options.say(f"snap: {_QUERIES} queries")
    seconds = interleaved(
        {"project": lambda turn: engine.project(items[turn % _QUERIES])}, options.rounds(500), warmup=10
    )["project"]
    found = [[n.entry.id for n in engine.search(SearchItem(query)).neighbours] for query in queries]
    true = exact_nearest(bank.vectors, queries, NEIGHBOURS)[1]
    recall = float(np.mean([np.isin(best, ours).mean() for best, ours in zip(true, found, strict=True)]))
    spread = Spread.of(seconds).times(1000)
    if len(bank) == FULL_BANK:
        return [held("snap_project", spread), held("snap_recall", recall)]
    smaller = f"{len(bank):,} vectors instead of {FULL_BANK:,}"
    return [
        figure(f"{name}_of_{len(bank)}", "snap", f"{BARS[name].what}; {smaller}", value, BARS[name].unit)
        for name, value in (("snap_project", spread), ("snap_recall", recall))
    ]


@dataclass(frozen=True)
class _Likeness:
    """Documents whose vectors lie to each other as those of text do; see the module's text."""

    subjects: Array  # [S, D] before the basis
    basis: Array  # [D, D]: independent components → vectors, with variances that fall off

    SUBJECT, DOCUMENT, DRIFT, OWN = 0.22, 0.01, 0.12, 0.65
    """Shares of the variance: of the subject, the document, what drifts within it, and the chunk alone."""

    STAYS = 0.75  # of the drift from one chunk to the next

    @classmethod
    def draw(cls, random: np.random.Generator) -> "_Likeness":
        variances = (np.arange(_DIMENSIONS) + 20.0) ** -1.35
        variances *= _DIMENSIONS / variances.sum()
        rotation = np.linalg.qr(random.standard_normal((_DIMENSIONS, _DIMENSIONS)))[0]
        basis = (np.sqrt(variances)[:, None] * rotation).astype(np.float32)
        return cls(random.standard_normal((80, _DIMENSIONS), dtype=np.float32), basis)

    def document(self, chunks: int, random: np.random.Generator) -> Array:
        """Vectors [chunks, D] of a new document of one of the subjects."""
        own, steps = random.standard_normal((2, chunks, _DIMENSIONS), dtype=np.float32)
        drift = np.empty_like(own)
        drift[0] = steps[0]
        for i in range(1, chunks):
            drift[i] = self.STAYS * drift[i - 1] + (1 - self.STAYS**2) ** 0.5 * steps[i]
        subject = self.subjects[random.integers(len(self.subjects))]
        topic = random.standard_normal(_DIMENSIONS, dtype=np.float32)
        parts = ((self.SUBJECT, subject), (self.DOCUMENT, topic), (self.DRIFT, drift), (self.OWN, own))
        mixed = sum(np.float32(share**0.5) * part for share, part in parts) @ self.basis
        return np.asarray(mixed, dtype=np.float32)
