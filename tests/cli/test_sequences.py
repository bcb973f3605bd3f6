"""`nextvec sequences`: encoded documents in, windows out; and what is text that moves on."""

import json

import numpy as np
import pytest

from tests.cli.toy_corpus import SPACE, write_corpus


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


def test_a_corpus_becomes_windows_with_a_card(nextvec, corpus, tmp_path):
    out = tmp_path / "windows.npz"
    result = nextvec("sequences", "build", "--corpus", corpus, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    held = np.load(out)
    assert held["context_vectors"].shape == (card["windows"], 5, 768)
    assert held["doc_ids"].dtype == held["positions"].dtype == np.int32
    assert (card["family"], card["space"], card["split"]) == ("mini", SPACE, "all")
    assert card["sources"][0]["licence"] == "CC0-1.0"


def test_splits_add_up_to_the_whole(nextvec, corpus, tmp_path):
    windows = {}
    for split in ("all", "train", "validation", "test"):
        out = tmp_path / f"{split}.npz"
        result = nextvec("sequences", "build", "--corpus", corpus, "--out", out, "--split", split, "--json")
        assert result.exit_code == 0, result.output
        windows[split] = json.loads(result.stdout)["windows"]
    assert windows.pop("all") == sum(windows.values())


def test_an_older_file_is_brought_into_form_when_its_source_is_given(nextvec, tmp_path):
    random = np.random.default_rng(0)
    older = tmp_path / "older.npz"
    np.savez_compressed(
        older,
        context_sequences=random.standard_normal((9, 5, 768), dtype=np.float32),
        target_vectors=random.standard_normal((9, 768), dtype=np.float32),
        truth_keys=np.arange(18).reshape(9, 2),
    )
    arguments = ("sequences", "build", "--corpus", older, "--out", tmp_path / "new.npz")
    refused = nextvec(*arguments)
    assert refused.exit_code == 3
    assert "give --source and --licence" in refused.stderr
    result = nextvec(*arguments, "--source", "Wikipedia", "--licence", "CC-BY-SA-3.0", "--json")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert (card["windows"], card["documents"], card["space"]) == (9, 9, SPACE)
    assert card["sources"][0]["source"] == "Wikipedia"


def test_a_corpus_of_another_space_is_refused(nextvec, corpus, tmp_path):
    (corpus / "vectors.json").write_text('{"space": "other-1"}')
    result = nextvec("sequences", "build", "--corpus", corpus, "--out", tmp_path / "windows.npz")
    assert result.exit_code == 4
    assert "space other-1" in result.stderr
    assert SPACE in result.stderr


def test_a_folder_that_is_no_corpus_is_refused_in_one_line(nextvec, tmp_path):
    result = nextvec("sequences", "build", "--corpus", tmp_path, "--out", tmp_path / "windows.npz")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].endswith("holds no part-*.parquet; build a corpus there first")


def test_the_check_of_a_corpus_gives_a_verdict_with_its_reasons(nextvec, corpus):
    result = nextvec("sequences", "check", corpus, "--json")
    report = json.loads(result.stdout)
    assert report["verdict"] == "FAIL"  # random vectors have no order
    assert report["reasons"]
    assert result.exit_code == 1


def test_the_check_reads_a_file_of_windows(nextvec, corpus, tmp_path):
    nextvec("sequences", "build", "--corpus", corpus, "--out", tmp_path / "windows.npz")
    result = nextvec("sequences", "check", tmp_path / "windows.npz")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL: ")
    assert "neighbours" in result.stdout
