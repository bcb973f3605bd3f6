"""Lets a model be trained on data of known origin that is a sequence; on other sequences with a remark."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nextvec.errors import FailedPrecondition
from services.lvm import intake
from services.lvm.registry import Source
from training import coherence, corpus, is_a
from training.coherence import Report, Verdict
from training.coherence_check import RUN, RUNS, check_vectors
from training.sequences import Sequences

_NAMED = 3  # of what is missing, in a message


class NotSequential(FailedPrecondition):
    """The data is no text that moves on, and a model of the next vector would learn nothing from it."""


def judge(place: Path, sequences: Sequences) -> Report:
    """Judges an encoded corpus folder by its vectors and words, an .npz of sequences by its vectors.

    `sequences` are those of the place. No text is encoded anew, so this takes a second or two.
    """
    if place.suffix == ".npz":
        return check_vectors(sequences)
    runs = list(sequences.runs(RUN, RUNS))
    vectors = [sequences.vectors[rows].astype(np.float32) for rows in runs]
    texts = _texts(place, runs)
    owners = [int(sequences.document[rows[0]]) for rows in runs]
    profile = coherence.profile_of(vectors, owners)
    odd = {owners[i] for i in coherence.odd_runs(vectors, profile)}
    odd |= {owner for owner, chunks in zip(owners, texts, strict=True) if is_a.is_odd(chunks)}
    seen = len(set(owners))
    signs = [
        *coherence.vector_signs(vectors, profile),
        *is_a.lexical_signs(texts),
        coherence.odd_sign(len(odd), seen, vectors),
    ]
    verdict, reasons = coherence.conclude(signs)
    chunks = sum(map(len, runs))
    named = sorted(sequences.ids[owner] for owner in odd)
    return Report(verdict, reasons, signs, profile, seen, len(runs), chunks, named)


def require(report: Report, allowed: bool) -> None:
    """Raises NotSequential for a verdict of FAIL, unless such data is allowed."""
    if report.verdict == Verdict.FAIL and not allowed:
        raise NotSequential(
            f"the data is not sequential text ({'; '.join(report.reasons)}); see `nextvec sequences check`, "
            "or give --allow-non-sequential, which the model's card will say"
        )


def require_provenance(sequences: Sequences, known_issues: Sequence[str]) -> None:
    """Raises FailedPrecondition where the model's card could not say what the registry asks of it.

    Said before the training, not after it.
    """
    sources = [
        Source(origin.source, origin.licence, documents, chunks)
        for origin, documents, chunks in sequences.sources()
    ]
    for missing, remedy in (
        (intake.unsaid_of_faults(known_issues), "give --known-issue"),
        (
            intake.unsaid_of_data(sources),
            "build the corpus with --licence, such as 'own work', in a new folder",
        ),
    ):
        found = list(missing)
        if found:
            more = f"; and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
            raise FailedPrecondition(
                f"the model's card could not say {'; '.join(found[:_NAMED])}{more}: {remedy}"
            )


def issues(report: Report) -> tuple[str, ...]:
    """What a model's card has to say of the data that it was trained on."""
    if report.verdict == Verdict.FAIL:
        return (f"Trained on data that is not sequential text: {'; '.join(report.reasons)}.",)
    return ()


def _texts(folder: Path, runs: list[np.ndarray]) -> list[list[str]]:
    """The chunks of runs of rows in ascending order."""
    found: list[list[str]] = []
    start = 0
    for part in corpus.parts(folder):
        stop = start + pq.read_metadata(part).num_rows
        inside = [rows - start for rows in runs if start <= rows[0] < stop]
        if inside:
            column = pq.read_table(part, columns=["text"])["text"]
            found += [column.take(rows[rows < stop - start]).to_pylist() for rows in inside]
        start = stop
    return found
