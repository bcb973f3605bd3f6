"""Windows written to an .npz: what it holds, and that an interrupted build ends the same."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nextvec import weights
from tests.training.conftest import DIMENSIONS
from training import sequence_build
from training.sequence_build import build
from training.sequences import SPLITS, Origin, Sequences, SequencesError


class ToyFamily:
    name, space = "toy", "toy-1"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sequence_build, "_BLOCK", 7)


def write(sequences, out, steps=None, **options):
    return list(itertools.islice(build(sequences, out, ToyFamily(), **options), steps))


def test_the_file_holds_the_four_arrays_raw(corpus_folder, sequences, tmp_path):
    out = tmp_path / "windows.npz"
    progress = write(Sequences.load(corpus_folder, mapped=True), out)
    assert progress[-1] == (len(sequences), len(sequences))
    held = np.load(out)
    assert {name: (array.shape, array.dtype) for name, array in held.items()} == {
        "context_vectors": ((len(sequences), 5, DIMENSIONS), np.float16),
        "target_vectors": ((len(sequences), DIMENSIONS), np.float16),
        "doc_ids": ((len(sequences),), np.int32),
        "positions": ((len(sequences),), np.int32),
    }
    rows = sequences.windows
    np.testing.assert_array_equal(held["target_vectors"], sequences.vectors[rows])
    np.testing.assert_array_equal(
        held["context_vectors"], sequences.vectors[rows[:, None] + np.arange(-5, 0)]
    )
    np.testing.assert_array_equal(held["positions"], sequences.position[rows])
    assert np.linalg.norm(held["target_vectors"], axis=1).std() > 0.1  # not normalised


def test_a_file_loads_to_the_windows_that_it_was_written_from(sequences, tmp_path):
    write(sequences, tmp_path / "windows.npz")
    loaded = Sequences.load(tmp_path / "windows.npz")
    every = np.arange(len(sequences))
    for found, given in zip(loaded.directions(every), sequences.directions(every), strict=True):
        np.testing.assert_array_equal(found, given)
    assert [loaded.ids[n] for n in loaded.document[loaded.windows]] == [
        sequences.ids[n] for n in sequences.document[sequences.windows]
    ]
    assert list(loaded.sources()) == list(sequences.sources())
    assert loaded.space == "toy-1"


def test_files_of_one_repository_are_one_source_of_the_card(sequences, tmp_path):
    files = [
        Origin(f"RFC (github:toys/rfcs @ 3545abc text/{n}.md)", "MIT") for n in range(len(sequences.ids))
    ]
    write(replace(sequences, origins=files), tmp_path / "windows.npz")
    card = json.loads((tmp_path / "windows.npz.json").read_text())
    assert [source["documents"] for source in card["sources"]] == [6]
    loaded = Sequences.load(tmp_path / "windows.npz")
    assert [origin.source for origin, _, _ in loaded.sources()] == [card["sources"][0]["source"]]


def test_a_split_of_the_file_is_the_split_of_the_corpus(sequences, tmp_path):
    write(sequences, tmp_path / "windows.npz")

    def held(whole):
        part = whole.split(0.4)[1]
        return {whole.ids[n] for n in part.document[part.windows]}

    assert held(Sequences.load(tmp_path / "windows.npz")) == held(sequences)


def test_the_card_says_what_the_file_is(sequences, tmp_path):
    out = tmp_path / "windows.npz"
    write(sequences, out, split="train")
    card = json.loads((tmp_path / "windows.npz.json").read_text())
    assert card["sha256"] == weights.sha256(out)
    assert (card["family"], card["space"], card["split"]) == ("toy", "toy-1", "train")
    assert (card["windows"], card["context"], card["dimensions"]) == (len(sequences), 5, DIMENSIONS)
    assert (card["documents"], card["chunks"]) == (6, 9 + 30 + 25 + 12 + 20 + 6)
    assert card["data_sha256"] == sequences.digest
    assert card["sources"][0] == {"source": "source 1", "licence": "CC0-1.0", "documents": 3, "chunks": 64}
    assert len(card["document_ids"]) == len(card["document_sources"]) == 6


@pytest.mark.parametrize("steps", [1, 4])
def test_a_build_that_was_stopped_goes_on_and_gives_the_same_bytes(sequences, tmp_path, steps, monkeypatch):
    write(sequences, tmp_path / "whole.npz")
    out = tmp_path / "stopped.npz"
    write(sequences, out, steps)
    assert not out.exists()
    with (tmp_path / "stopped.npz.partial" / "context_vectors.npy").open("ab") as file:
        file.write(b"half a row")
    first = write(sequences, out)[0]
    assert first == (7 * (steps + 1), len(sequences))
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert (tmp_path / "stopped.npz.json").read_text() == (tmp_path / "whole.npz.json").read_text()
    assert not (tmp_path / "stopped.npz.partial").exists()


def test_a_complete_file_is_left_as_it_is(sequences, tmp_path):
    out = tmp_path / "windows.npz"
    write(sequences, out)
    files = (out, tmp_path / "windows.npz.json")
    before = [file.stat().st_mtime_ns for file in files]
    assert write(sequences, out) == [(len(sequences), len(sequences))]
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_corrected_source_or_licence_changes_the_card_of_a_complete_file_alone(sequences, tmp_path):
    out, card = tmp_path / "windows.npz", tmp_path / "windows.npz.json"
    write(sequences, out)
    file, before = out.stat(), json.loads(card.read_text())
    corrected = replace(sequences, origins=[Origin("source", "MIT")] * len(sequences.ids))
    assert write(corrected, out) == [(len(sequences), len(sequences))]
    assert out.stat().st_mtime_ns == file.st_mtime_ns
    assert [origin for origin, _, _ in Sequences.load(out).sources()] == [Origin("source", "MIT")]
    write(sequences, out)
    assert json.loads(card.read_text()) == before


def test_what_was_begun_for_other_windows_is_begun_anew(sequences, tmp_path):
    out = tmp_path / "windows.npz"
    write(sequences, out, 2, dtype="float32")
    write(sequences, out)
    shutil.copy(out, tmp_path / "again.npz")
    assert np.load(tmp_path / "again.npz")["context_vectors"].dtype == np.float16


def test_splits_share_no_document_and_leave_none_out(sequences):
    parts = [sequences.part(name) for name in SPLITS if _has(sequences, name)]
    found = [{sequences.ids[n] for n in part.document[part.windows]} for part in parts]
    assert sum(map(len, found)) == 6
    assert set.union(*found) == {sequences.ids[n] for n in sequences.document[sequences.windows]}


def test_an_empty_split_is_refused_by_name(sequences):
    one = replace(sequences, windows=sequences.windows[sequences.document[sequences.windows] == 0])
    empty = [name for name in SPLITS if not _has(one, name)]
    assert len(empty) == 2
    with pytest.raises(SequencesError, match=rf"none of 8 documents falls into the {empty[0]} split"):
        one.part(empty[0])


def _has(sequences, split):
    try:
        return len(sequences.part(split)) > 0
    except SequencesError:
        return False
