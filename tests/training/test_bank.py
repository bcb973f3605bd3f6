"""Building a bank from documents with a toy family."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nextvec import weights
from nextvec.errors import WrongSpace
from services.snap.bank import Bank, BankError
from training.bank import BankProgress, build_bank, build_bank_of_corpus
from training.corpus import SCHEMA


class ToyFamily:
    """Limit of 8 words, no files."""

    space = "toy-1"
    token_limit = 8

    def __init__(self, folder):
        self.folder = folder

    def part(self, name):
        return self.folder / name

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


class ToyEmbedder:
    """A vector per text from the letters it has."""

    mean = torch.zeros(26)

    def token_ids(self, texts):
        return [[ord(c) - 97 for c in text.lower() if "a" <= c <= "z"] for text in texts]

    def embed(self, token_ids):
        return torch.stack([torch.bincount(torch.tensor(ids), minlength=26).float() for ids in token_ids])


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("On zebras\n\nZebras run fast. They eat grass.\n\nLions eat zebras.\n")
    (folder / "deep" / "two.md").write_text("The quick brown fox jumps, and then it sleeps.\n")
    (folder / "three.jsonl").write_text(
        '{"id": "x", "chunks": ["First.", "Second."], "source": "the folder", "license": "CC0-1.0"}\n'
    )
    return folder


def test_a_folder_of_documents_becomes_a_bank(documents, tmp_path):
    family = ToyFamily(tmp_path / "family")
    progress = list(build_bank([documents], family, embedder=ToyEmbedder()))
    assert progress == [BankProgress(7, 7, "encoding"), BankProgress(7, 7, "indexing")]
    bank = Bank.open(tmp_path / "family" / "bank", "toy-1")
    entries = [bank.entry(row) for row in range(len(bank))]
    assert [(e.document_id, e.position) for e in entries] == [
        ("deep/two.md", 0),
        ("deep/two.md", 1),
        ("one.txt", 1),  # the heading is left out
        ("one.txt", 2),
        ("one.txt", 3),
        ("x", 0),
        ("x", 1),
    ]
    assert entries[2].text == "Zebras run fast."
    assert all(len(e.text.split()) <= family.token_limit for e in entries)
    assert bank.raw([2])[0][25] == 1  # one z
    assert bank.record.sources == ("the folder (CC0-1.0)",)


def test_documents_that_state_no_licence_are_named_by_their_folder(documents, tmp_path):
    (documents / "three.jsonl").unlink()
    list(build_bank([documents], ToyFamily(tmp_path), embedder=ToyEmbedder()))
    assert Bank.open(tmp_path / "bank").record.sources == ("documents",)


def test_another_folder_for_the_bank_can_be_given(documents, tmp_path):
    list(build_bank([documents], ToyFamily(tmp_path), tmp_path / "elsewhere", ToyEmbedder()))
    assert len(Bank.open(tmp_path / "elsewhere")) == 7


def test_a_folder_without_text_makes_no_bank_and_says_so(tmp_path):
    with pytest.raises(BankError, match=f"no text in {tmp_path}"):
        list(build_bank([tmp_path], ToyFamily(tmp_path), embedder=ToyEmbedder()))


@pytest.fixture
def encoded(tmp_path):
    """A corpus of two parts with random vectors; every third chunk is a heading."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    random = np.random.default_rng(0)
    for part in range(2):
        rows = [
            {
                "document_id": f"document {part}-{number}",
                "position": position,
                "text": "Heading" if position % 3 == 0 else f"Chunk {position} of {part}-{number}.",
                "title": "",
                "source": f"source {part}",
                "licence": "CC0-1.0",
                "category": "",
            }
            for number in range(3)
            for position in range(6)
        ]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"part-0000{part}.parquet")
        np.save(folder / f"part-0000{part}.npy", random.standard_normal((18, 26)).astype(np.float16))
    describe(folder)
    return folder


def describe(folder, space="toy-1"):
    files = [{"file": f.name, "sha256": weights.sha256(f)} for f in sorted(folder.glob("*.npy"))]
    (folder / "vectors.json").write_text(json.dumps({"space": space, "parts": files}))


def test_an_encoded_corpus_becomes_a_bank_with_its_own_vectors(encoded, tmp_path):
    steps = list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))
    assert steps[:2] == [BankProgress(12, 24, "copying"), BankProgress(24, 24, "copying")]
    bank = Bank.open(tmp_path / "bank", "toy-1")
    assert (len(bank), bank.record.documents) == (24, 6)
    assert bank.record.sources == ("source 0 (CC0-1.0)", "source 1 (CC0-1.0)")
    vectors = np.concatenate([np.load(f) for f in sorted(encoded.glob("*.npy"))])
    sentences = np.arange(len(vectors)) % 3 != 0  # the headings are left out
    np.testing.assert_array_equal(bank.vectors, vectors[sentences])
    entry = bank.entry(13)
    assert (entry.text, entry.document_id, entry.position) == ("Chunk 2 of 1-0.", "document 1-0", 2)
    assert [e.position for e in bank.preceding(15, 9)] == [1, 2, 4]


def test_a_corpus_that_is_not_wholly_encoded_is_refused_with_the_remedy(encoded, tmp_path):
    (encoded / "part-00001.npy").unlink()
    with pytest.raises(BankError, match=r"1 of 2 parts .* have no vectors; nextvec corpus encode"):
        list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))


def test_a_corpus_of_another_space_is_refused_with_both_named(encoded, tmp_path):
    describe(encoded, "gtr-1")
    with pytest.raises(WrongSpace, match=r"'gtr-1'.*'toy-1'"):
        list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))


def test_vectors_that_changed_since_they_were_encoded_are_refused(encoded, tmp_path):
    np.save(encoded / "part-00001.npy", np.ones((18, 26), dtype=np.float16))
    with pytest.raises(BankError, match=r"part-00001.npy does not have the SHA-256 of vectors.json"):
        list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))


def test_vectors_of_other_chunks_are_refused_and_the_old_bank_stays(encoded, tmp_path):
    list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))
    before = Bank.open(tmp_path / "bank").record.id
    np.save(encoded / "part-00001.npy", np.ones((17, 26), dtype=np.float16))
    describe(encoded)
    with pytest.raises(BankError, match="18 chunks, 17 vectors"):
        list(build_bank_of_corpus(encoded, ToyFamily(tmp_path)))
    assert Bank.open(tmp_path / "bank").record.id == before
    assert not list((tmp_path / "bank").glob(".draft*"))


def test_a_folder_that_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(BankError, match="is no corpus"):
        list(build_bank_of_corpus(tmp_path, ToyFamily(tmp_path)))
