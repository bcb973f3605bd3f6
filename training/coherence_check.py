"""The check of a data set before training: samples it, looks at vectors and words, gives a verdict."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nextvec.chunking import fit, sentences
from nextvec.errors import InvalidInput
from nextvec.family import Family
from nextvec.vectors import Array
from services.families.embedder import Embedder
from training import cleaning, coherence, is_a
from training.coherence import SHORTEST, Report, Sign, Verdict
from training.corpus import encode_texts
from training.documents import Document, read_documents, share_of
from training.sequences import Sequences

RUNS = 160  # in a sample of text; encoding them takes 25 s at 160 chunks a second
RUN = 24  # chunks in a row of one document
VECTOR_RUNS = 2000  # in a sample of vectors, which need no encoding
_NAMED = 10  # odd documents named in a report
_ENCODED = 512  # chunks between two reports of progress

Tell = Callable[[str, int, int], None]
"""Hears of progress: what is being done, how much of it is, and how much there is."""


@dataclass(frozen=True)
class Run:
    """Chunks in a row of one document."""

    document: str
    chunks: list[str]


def check(
    place: Path | str,
    family: Family,
    embedder: Embedder | None = None,
    tell: Tell = lambda what, done, total: None,
) -> Report:
    """Judges a file or folder of text, or an .npz of sequences.

    The sample depends on nothing but the data. Of an .npz each vector is held once, in half precision; of
    one whose windows are out of order, all six vectors of each window. Raises InvalidInput where there is
    nothing to judge.
    """
    if str(place).endswith(".npz"):
        return check_vectors(Sequences.load(Path(place)))
    return check_documents(read_documents(place), family, embedder, tell)


def check_documents(
    documents: Iterable[Document],
    family: Family,
    embedder: Embedder | None = None,
    tell: Tell = lambda what, done, total: None,
) -> Report:
    """Judges documents by the vectors of the family and by their words."""
    runs = sample(documents, family)
    if not runs:
        raise InvalidInput("there is no text to judge; give .txt, .md or .jsonl(.gz) documents")
    whole = [run for run in runs if len(run.chunks) >= SHORTEST]
    chunks = sum(len(run.chunks) for run in runs)
    signs = is_a.lexical_signs([run.chunks for run in runs])
    odd = {run.document for run in runs if is_a.is_odd(run.chunks)}
    profile, vectors = None, []
    if whole:
        embedder = embedder or Embedder.load(family)
        vectors = _encode([run.chunks for run in whole], embedder, tell)
        names = sorted({run.document for run in whole})
        profile = coherence.profile_of(vectors, [names.index(run.document) for run in whole])
        signs = [*coherence.vector_signs(vectors, profile), *signs]
        odd |= {whole[i].document for i in coherence.odd_runs(vectors, profile)}
    else:
        signs.append(_no_window(max(len(run.chunks) for run in runs)))
    seen = {run.document for run in runs}
    signs.append(coherence.odd_sign(len(odd), len(seen), vectors))
    verdict, reasons = coherence.conclude(signs)
    named = sorted(odd)[:_NAMED]
    return Report(verdict, reasons, signs, profile, len(seen), len(runs), chunks, named)


def check_vectors(sequences: Sequences) -> Report:
    """Judges windows by their vectors alone."""
    rows = list(sequences.runs(RUN, VECTOR_RUNS))
    runs = [sequences.vectors[run].astype(np.float32) for run in rows]
    owners = [int(sequences.document[run[0]]) for run in rows]
    profile = coherence.profile_of(runs, owners)
    odd = coherence.odd_runs(runs, profile)
    signs = [*coherence.vector_signs(runs, profile), coherence.odd_sign(len(odd), len(runs), runs)]
    verdict, reasons = coherence.conclude(signs)
    named = [sequences.ids[owner] for owner in sorted({owners[i] for i in odd})[:_NAMED]]
    chunks = sum(map(len, runs))
    return Report(verdict, reasons, signs, profile, len(set(owners)), len(runs), chunks, named)


def sample(documents: Iterable[Document], family: Family) -> list[Run]:
    """Runs of chunks of the documents that a hash of their ids picks.

    Where there are fewer documents than runs wanted, each gives several, evenly spread over it.
    """
    numbered = ((share_of(document.id, "coherence"), n, document) for n, document in enumerate(documents))
    picked = [document for _, _, document in heapq.nsmallest(RUNS, numbered, key=lambda entry: entry[:2])]
    runs = []
    for document in picked:
        units = _as_written(document)
        last = max(0, len(units) - RUN)
        place = share_of(document.id, "start")
        wanted = max(1, min(RUNS // len(picked), len(units) // RUN))
        for number in range(wanted):
            start = int(last * (number + place) / wanted)
            if chunks := fit(units[start : start + RUN], family.count_tokens, family.token_limit)[:RUN]:
                runs.append(Run(document.id, chunks))
    return runs


def _as_written(document: Document) -> list[str]:
    """A document's sentences as they stand: what cleaning would leave out is part of the evidence."""
    raw = document.chunks or [s for line in cleaning.lines_to_judge(document.text) for s in sentences(line)]
    return [text for text in raw if text.strip()]


def _encode(runs: list[list[str]], embedder: Embedder, tell: Tell) -> list[Array]:
    texts = [chunk for run in runs for chunk in run]
    blocks = []
    for start in range(0, len(texts), _ENCODED):
        tell("encoding", start, len(texts))
        blocks.append(encode_texts(embedder, texts[start : start + _ENCODED]))
    tell("encoding", len(texts), len(texts))
    vectors = np.concatenate(blocks).astype(np.float32)
    return np.split(vectors, np.cumsum([len(run) for run in runs])[:-1])


def _no_window(longest: int) -> Sign:
    return Sign(
        "chunks in the longest document",
        longest,
        f"{SHORTEST} and more",
        Verdict.FAIL,
        "a window is a context of five and a target, and no document has one",
    )
