"""`nextvec bank build`: documents in, a bank out."""

import json

import pytest


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
