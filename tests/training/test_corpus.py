"""Corpora on disk: built, resumed after a kill, encoded, and described by their card."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextvec import weights
from nextvec.family import Family
from training import corpus
from training.corpus import CorpusError
from training.documents import Document

WORK = Path(__file__).with_name("killed_work.py")
_spec = importlib.util.spec_from_file_location("killed_work", WORK)
work = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(work)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_PART", 4)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A corpus built and encoded without interruption."""
    folder = tmp_path_factory.mktemp("corpus") / "whole"
    before = corpus.DOCUMENTS_PER_PART
    work.build(folder)
    work.encode(folder)
    corpus.DOCUMENTS_PER_PART = before
    return folder


@pytest.fixture(scope="session")
def killed(tmp_path_factory):
    """Folders in which the work died, each at another point."""
    folder = tmp_path_factory.mktemp("killed")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, str(WORK), str(folder)], env=environment, timeout=600, check=False)
    assert done.returncode == 0, "some of the work was not killed"
    return folder


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix != ".partial"}


def rows(folder):
    return [row for part in corpus.parts(folder) for row in pq.read_table(part).to_pylist()]


def card(folder):
    return json.loads((folder / "corpus.json").read_text())


@pytest.mark.parametrize("point", work.POINTS)
def test_work_that_was_killed_ends_the_same(point, killed, whole):
    folder = killed / point
    assert contents(folder) != contents(whole)
    work.build(folder)
    work.encode(folder)
    assert contents(folder) == contents(whole)
    assert not list(folder.glob("*.partial"))


def test_a_part_of_long_documents_ends_at_a_number_of_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "CHUNKS_PER_PART", 20)  # each document has twelve and more
    read = work.build(tmp_path, work.documents(6))
    assert [counts.kept for counts in read] == [2, 2, 2]
    assert [counts.chunks for counts in read] == work.encode(tmp_path)
    assert all(counts.chunks >= 20 for counts in read)


def test_a_corpus_of_larger_parts_goes_on_with_smaller_ones(tmp_path, monkeypatch):
    work.build(tmp_path, work.documents(8))
    (tmp_path / "part-00001.parquet").unlink()
    monkeypatch.setattr(corpus, "CHUNKS_PER_PART", 20)
    read = work.build(tmp_path, work.documents(8))
    assert [counts.kept for counts in read] == [4, 2, 1]
    assert card(tmp_path)["documents_read"] == 8


def test_a_second_build_changes_nothing(whole):
    before = contents(whole)
    read = work.build(whole)
    assert sum(counts.documents for counts in read) == card(whole)["documents_read"] == 22
    assert contents(whole) == before


def test_the_card_counts_what_was_read_kept_dropped_and_cut(whole):
    found = card(whole)
    assert (found["family"], found["space"]) == ("mini", Family.open("mini").space)
    assert found["documents_dropped"] == {"duplicate": 1, "empty": 1}
    assert found["documents"] == 20
    assert found["pieces_cut"] == {"link": 3}
    assert found["chunks"] == len(rows(whole)) == sum(part["chunks"] for part in found["parts"])
    assert found["licences"] == {"CC0-1.0": 20}
    assert {s["source"]: s["documents"] for s in found["sources"]} == {"source 0": 10, "source 1": 10}
    for part in found["parts"]:
        assert part["sha256"] == weights.sha256(whole / part["file"])


def test_the_card_of_the_vectors_names_their_space_and_digests(whole):
    found = json.loads((whole / "vectors.json").read_text())
    assert found["space"] == Family.open("mini").space
    assert [p["sha256"] for p in found["parts"]] == [
        weights.sha256(part.with_suffix(".npy")) for part in corpus.parts(whole)
    ]


def test_a_sentence_left_out_leaves_a_gap_in_the_positions(whole):
    positions = [row["position"] for row in rows(whole) if row["document_id"] == "d2"]
    assert 4 not in positions
    assert {3, 5} <= set(positions)
    untouched = [row["position"] for row in rows(whole) if row["document_id"] == "d1"]
    assert untouched == list(range(len(untouched)))


def test_every_row_carries_source_and_licence(whole):
    assert {(row["source"], row["licence"]) for row in rows(whole)} == {
        ("source 0", "CC0-1.0"),
        ("source 1", "CC0-1.0"),
    }


def test_chunks_are_within_the_token_limit(tmp_path):
    family = Family.open("mini")
    text = "The miller " + " and the miller's daughter" * 40 + " went to town."
    list(corpus.build([Document("long", text)], family, tmp_path))
    counts = family.count_tokens([row["text"] for row in rows(tmp_path)])
    assert len(counts) > 4
    assert max(counts) <= family.token_limit


def test_documents_of_one_id_are_told_apart(tmp_path):
    twins = [replace(d, id="same") for d in list(work.documents(3))]
    list(corpus.build(twins, Family.open("mini"), tmp_path))
    assert sorted({row["document_id"] for row in rows(tmp_path)}) == ["same", "same~2", "same~3"]


def test_a_document_of_links_and_numbers_is_dropped_whole(tmp_path):
    index = " ".join(f"See https://example.org/{n} for it. Then came a word." for n in range(9))
    list(corpus.build([Document("index", index), *work.documents(2)], Family.open("mini"), tmp_path))
    assert card(tmp_path)["documents_dropped"] == {"too little prose": 1}


def test_without_cleaning_and_duplicate_search_everything_stays(tmp_path):
    family = Family.open("mini")
    stream = [d for d in work.documents(8) if d.text]
    list(corpus.build(stream, family, tmp_path, clean=False, deduplicate=False))
    expected = [row["text"] for d in stream for row in corpus.chunk_rows(d, family)]
    assert [row["text"] for row in rows(tmp_path)] == expected


def test_other_documents_or_settings_do_not_continue_a_corpus(tmp_path):
    family = Family.open("mini")
    work.build(tmp_path, work.documents(9))
    with pytest.raises(CorpusError, match="have changed"):
        list(corpus.build(reversed(list(work.documents(9))), family, tmp_path))
    with pytest.raises(CorpusError, match="clean True, now False"):
        list(corpus.build(work.documents(9), family, tmp_path, clean=False))
    (tmp_path / "part-00000.json").unlink()
    with pytest.raises(CorpusError, match="cannot be continued"):
        list(corpus.build(work.documents(9), family, tmp_path))


def test_vectors_of_another_space_do_not_mix(tmp_path):
    work.build(tmp_path, work.documents(9))
    with pytest.raises(CorpusError, match="built for space"):
        list(corpus.encode(tmp_path, work.ToyEmbedder(), space="elsewhere"))
    list(corpus.encode(tmp_path, work.ToyEmbedder()))
    with pytest.raises(CorpusError, match="unknown"):
        list(corpus.encode(tmp_path, work.ToyEmbedder(), space=work.SPACE_OF_MINI))


def test_vectors_that_do_not_fit_their_part_are_refused(tmp_path):
    work.build(tmp_path, work.documents(4))
    np.save(tmp_path / "part-00000.npy", np.zeros((1, 8), np.float16))
    with pytest.raises(CorpusError, match="does not belong"):
        list(corpus.encode(tmp_path, work.ToyEmbedder()))


def test_each_chunk_has_its_own_vector(whole):
    embedder = work.ToyEmbedder()
    for part in corpus.parts(whole):
        texts = pq.read_table(part)["text"].to_pylist()
        expected = np.concatenate([embedder.embed(embedder.token_ids([t])).numpy() for t in texts])
        assert np.abs(np.load(part.with_suffix(".npy")) - expected).max() < 0.05
