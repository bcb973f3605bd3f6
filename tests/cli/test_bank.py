"""`nextvec bank build`: documents in, a bank out."""

import json

import pytest

from tests.cli.toy_corpus import write_corpus


@pytest.fixture
def documents(tmp_path):
    """Two documents in two formats."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "tea.txt").write_text("Tea grows on hills. The leaves are picked by hand.")
    line = {"doc_id": "salt", "text": "Salt is won from the sea. The sun dries the water."}
    (folder / "salt.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_a_folder_of_documents_becomes_a_bank(nextvec, documents, tmp_path):
    target = tmp_path / "bank"
    result = nextvec("bank", "build", documents, "--out", target, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["documents"], record["entries"]) == (2, 4)
    assert record["folder"] == str(target)
    assert record["space"].startswith("mini-")


def test_documents_that_cannot_be_read_are_named(nextvec, documents, tmp_path):
    (documents / "bad.txt").write_bytes(b"\xff\xfe\xff")
    result = nextvec("bank", "build", documents, "--out", tmp_path / "bank")
    assert result.exit_code == 3
    assert "bad.txt is not UTF-8" in result.stderr.replace("\n", "")


def test_a_folder_without_text_is_refused(nextvec, tmp_path):
    (tmp_path / "empty").mkdir()
    result = nextvec("bank", "build", tmp_path / "empty", "--out", tmp_path / "bank")
    assert result.exit_code == 2
    assert "no text" in result.stderr


def test_an_encoded_corpus_becomes_a_bank_without_encoding_again(nextvec, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", documents=4, chunks=5)
    result = nextvec("bank", "build", "--corpus", corpus, "--out", tmp_path / "bank", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["documents"], record["entries"]) == (4, 20)
    assert record["index"]["kind"] == "exact"
    assert record["index"]["recall"] == 1


def test_documents_and_a_corpus_together_are_refused_and_so_is_neither(nextvec, documents, tmp_path):
    for arguments in ([documents, "--corpus", tmp_path], []):
        result = nextvec("bank", "build", *arguments, "--out", tmp_path / "bank")
        assert result.exit_code == 3
        assert "documents or --corpus, one of the two" in result.stderr
