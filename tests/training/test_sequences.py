"""Windows of five vectors and the next, from an encoded corpus."""

from dataclasses import replace
from itertools import count, islice

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.training.conftest import DIMENSIONS, LENGTHS
from training.documents import share_of
from training.sequences import SPLITS, Origin, Sequences, SequencesError


def test_a_document_of_n_chunks_has_n_minus_five_windows(sequences):
    assert len(sequences) == sum(max(0, n - 5) for n in LENGTHS)
    assert sequences.dimensions == DIMENSIONS


def test_no_window_crosses_a_document(sequences):
    rows = sequences.windows[:, None] + np.arange(-5, 1)
    documents = sequences.document[rows]
    assert (documents == documents[:, :1]).all()


def test_contexts_and_targets_are_the_unit_directions_of_consecutive_rows(sequences):
    context, target = sequences.directions(np.arange(len(sequences)))
    assert context.shape == (len(sequences), 5, DIMENSIONS)
    assert context.dtype == target.dtype == np.float32
    raw = sequences.vectors.astype(np.float32)
    for i, row in enumerate(sequences.windows):
        expected = raw[row - 5 : row + 1] / np.linalg.norm(raw[row - 5 : row + 1], axis=1, keepdims=True)
        np.testing.assert_allclose(np.vstack((context[i], target[i])), expected, atol=1e-6)


def test_a_split_puts_every_document_on_one_side(sequences):
    train, held = sequences.split(0.4)
    assert len(train) + len(held) == len(sequences)
    assert len(train)
    assert len(held)
    assert not {*train.document[train.windows]} & {*held.document[held.windows]}
    assert train.vectors is held.vectors  # held once


def test_a_split_depends_on_the_documents_id_alone(corpus_folder, sequences):
    (corpus_folder / "part-00000.parquet").unlink()
    (corpus_folder / "part-00000.npy").unlink()
    rest = Sequences.load(corpus_folder)

    def held(whole):
        part = whole.split(0.4)[1]
        return {whole.ids[number] for number in part.document[part.windows]}

    assert held(rest) == held(sequences) & set(rest.ids)


def many(documents, share=(0.0, 1.0)):
    """One window of each of so many documents whose hashes are in an interval."""
    named = (f"document {number}" for number in count())
    ids = list(
        islice((name for name in named if share[0] <= share_of(name, "validation") < share[1]), documents)
    )
    return Sequences(
        vectors=np.ones((6 * documents, 4), np.float16),
        document=np.repeat(np.arange(documents, dtype=np.int32), 6),
        position=np.tile(np.arange(6), documents),
        ids=ids,
        origins=[Origin("toys", "CC0-1.0")] * documents,
        windows=np.arange(5, 6 * documents, 6),
        digest="",
    )


@pytest.mark.parametrize("share", [(0.0, 1.0), SPLITS["train"]])
def test_a_twentieth_of_the_documents_is_held_out_of_a_split_as_well(share):
    training, validation = many(200, share).held_out()
    assert (len(training), len(validation)) == (190, 10)
    shares = [share_of(name, "validation") for name in training.ids]
    held = {shares[n] for n in validation.document[validation.windows]}
    assert held == set(sorted(shares)[:10])


def test_of_few_documents_one_is_held_out_and_of_one_none():
    training, validation = many(2).held_out()
    assert (len(training), len(validation)) == (1, 1)
    with pytest.raises(SequencesError, match="a single document has windows; give more"):
        many(1).held_out()


def stored_apart(sequences, order):
    """The windows in another order, each with rows of its own, as they come out of a shuffled file."""
    rows = (sequences.windows[order][:, None] + np.arange(-5, 1)).ravel()
    arrays = {name: getattr(sequences, name)[rows] for name in ("vectors", "document", "position")}
    return replace(sequences, windows=np.arange(5, len(rows), 6), **arrays)


def test_runs_are_chunks_in_a_row_of_one_document_up_to_a_length(sequences):
    runs = list(sequences.runs(24, 100))
    assert [len(rows) for rows in runs] == [12, 20, 9, 24, 11, 6, 24, 6]  # a longer document gives two
    for rows in runs:
        assert (np.diff(rows) == 1).all()
        assert len({*sequences.document[rows]}) == 1


def test_of_many_runs_so_many_are_taken_evenly(sequences):
    every = [list(rows) for rows in sequences.runs(24, 100)]
    assert [list(rows) for rows in sequences.runs(24, 3)] == [every[0], every[3], every[7]]


def test_windows_out_of_order_are_chained_to_the_same_runs(sequences, monkeypatch):
    monkeypatch.setattr("training.sequences._BLOCK", 7)
    apart = stored_apart(sequences, np.random.default_rng(0).permutation(len(sequences)))
    for found, wanted in zip(apart.runs(24, 100), sequences.runs(24, 100), strict=True):
        np.testing.assert_array_equal(apart.vectors[found], sequences.vectors[wanted])


def test_windows_whose_positions_do_not_count_chunks_stand_alone(sequences):
    apart = stored_apart(sequences, np.arange(0, len(sequences), 3))
    apart = replace(apart, position=np.arange(len(apart.position)) // 6)
    assert {len(rows) for rows in apart.runs(24, 100)} == {6}


@pytest.mark.parametrize("mapped", [False, True])
def test_windows_that_other_data_has_as_well_are_counted(corpus_folder, sequences, mapped, monkeypatch):
    monkeypatch.setattr("training.sequences._BLOCK", 7)
    train, held = sequences.split(0.4)
    again = Sequences.load(corpus_folder, mapped=mapped)
    assert held.shared(train) == train.shared(held) == 0
    assert held.shared(again) == len(held)
    assert again.shared(held) == len(held)


def test_a_sentence_that_two_documents_have_is_no_shared_window(sequences):
    train, held = sequences.split(0.4)
    sequences.vectors[held.windows[0]] = sequences.vectors[train.windows[0]]
    assert held.shared(train) == 0


def test_sources_count_documents_and_chunks_that_have_windows(sequences):
    assert list(sequences.sources()) == [
        (Origin("source 1", "CC0-1.0"), 3, 9 + 30 + 25),
        (Origin("source 0", "CC0-1.0"), 3, 12 + 20 + 6),
    ]


@pytest.mark.parametrize("mapped", [False, True])
def test_a_limit_takes_so_many_chunks_and_no_more(corpus_folder, sequences, mapped):
    limit = sum(LENGTHS[:4]) + 7  # the first part, and seven chunks of the second
    few = Sequences.load(corpus_folder, limit=limit, mapped=mapped)
    assert len(few.vectors) == len(few.document) == limit
    assert list(few.windows) == [row for row in sequences.windows if row < limit]
    assert sum(chunks for _, _, chunks in few.sources()) == 12 + 20 + 9


def test_the_digest_changes_with_the_data(corpus_folder, sequences):
    assert Sequences.load(corpus_folder).digest == sequences.digest
    vectors = np.load(corpus_folder / "part-00001.npy")
    np.save(corpus_folder / "part-00001.npy", vectors[::-1])
    assert Sequences.load(corpus_folder).digest != sequences.digest


def test_a_gap_in_a_document_ends_its_windows(corpus_folder, sequences):
    path = corpus_folder / "part-00000.parquet"
    table = pq.read_table(path)
    keep = [i for i in range(len(table)) if i != 6]  # chunk 6 of a document of 12
    pq.write_table(table.take(keep), path)
    np.save(path.with_suffix(".npy"), np.load(path.with_suffix(".npy"))[keep])
    assert len(Sequences.load(corpus_folder)) == len(sequences) - 6


def test_a_corpus_that_is_not_encoded_is_refused(corpus_folder):
    (corpus_folder / "part-00001.npy").unlink()
    with pytest.raises(SequencesError, match=r"part-00001.parquet has no vectors"):
        Sequences.load(corpus_folder)


def test_a_folder_that_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(SequencesError, match="no part-"):
        Sequences.load(tmp_path)


def test_vectors_of_another_corpus_are_refused(corpus_folder):
    np.save(corpus_folder / "part-00001.npy", np.ones((3, DIMENSIONS), np.float16))
    with pytest.raises(SequencesError, match=r"chunks, \d+ vectors"):
        Sequences.load(corpus_folder)


def test_documents_too_short_for_a_window_are_refused(corpus_folder):
    path = corpus_folder / "part-00000.parquet"
    (corpus_folder / "part-00001.parquet").unlink()
    pq.write_table(pq.read_table(path).slice(0, 5), path)
    np.save(path.with_suffix(".npy"), np.load(path.with_suffix(".npy"))[:5])
    with pytest.raises(SequencesError, match="no document of more than 5"):
        Sequences.load(corpus_folder)
