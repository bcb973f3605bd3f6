"""Building a bank from documents with a toy family."""

import pytest
import torch

from services.snap.bank import Bank, BankError
from training.bank import BankProgress, build_bank


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
    assert progress == [BankProgress(7, 7)]
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
