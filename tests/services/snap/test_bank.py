"""Bank folders: what is written is found again, and what is damaged is refused."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from nextvec.errors import InvalidInput, StartupError, WrongSpace
from nextvec.vectors import unit
from services.snap.bank import Bank, BankError
from services.snap.writing import write_bank
from tests.services.snap.conftest import SPACE


def write(folder, vectors, documents=None, positions=None):
    count = len(vectors)
    documents = documents or ["a"] * count
    return write_bank(folder, vectors, ["text"] * count, documents, positions or range(count), space=SPACE)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from services.snap.writing import Block, write_blocks
block = Block(np.ones((2, 8)), ["text"] * 2, ["a"] * 2, [0, 1])
work = write_blocks(Path(sys.argv[1]), [block, block], 4, space="toy")
next(work)
print(flush=True)
sys.stdin.read(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_and_two_at_once_are_refused(folder):
    before = Bank.open(folder).record.id
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(BankError, match=r"is being written by another process; wait for it, or end it"):
            write(folder, np.ones((3, 8)))
        other.stdin.close()
    assert other.returncode == -signal.SIGKILL
    assert len(list(folder.glob(".draft*"))) == 1
    assert Bank.open(folder).record.id == before
    write(folder, np.ones((3, 8)))
    assert not list(folder.glob(".draft*"))
    assert len(Bank.open(folder)) == 3


def test_every_entry_finds_itself_first(bank):
    cosines, rows = bank.search(unit(bank.raw(range(60))), 3)
    np.testing.assert_array_equal(rows[:, 0], np.arange(60))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-5)


def test_search_is_exact(bank, random):
    queries = unit(random.standard_normal((9, 768)))
    cosines, rows = bank.search(queries, 60)
    exact = queries @ unit(bank.raw(range(60))).T
    np.testing.assert_allclose(cosines, -np.sort(-exact, axis=1), atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, 1), cosines, atol=1e-5)


def test_no_more_entries_are_found_than_there_are(bank):
    assert bank.search(unit(np.ones((1, 768))), 1000)[1].shape == (1, 60)


def test_vectors_are_kept_raw(bank):
    norms = np.linalg.norm(bank.raw(range(60)), axis=1)
    assert norms.min() > 0.9
    assert norms.max() > 10


def test_an_entry_has_its_text_and_place(bank):
    entry = bank.entry(23)
    assert (entry.id, entry.text) == (23, "Chunk 3 of document 2.")
    assert (entry.document_id, entry.position) == ("document 2", 3)


@pytest.mark.parametrize(
    ("row", "count", "rows"), [(25, 3, [22, 23, 24]), (21, 5, [20]), (20, 5, []), (0, 5, [])]
)
def test_preceding_chunks_are_of_the_same_document_in_reading_order(bank, row, count, rows):
    assert [entry.id for entry in bank.preceding(row, count)] == rows


def test_the_record_says_what_the_bank_is(bank):
    record = bank.record
    assert (record.entries, record.documents, record.dimensions) == (60, 6, 768)
    assert record.sources == ("invented (CC0-1.0)",)
    assert record.id.startswith("bank-")


def test_the_id_changes_with_the_content(bank, tmp_path):
    other = write(tmp_path / "other", bank.raw(range(59)))
    assert other.id != bank.record.id


def test_a_bank_of_another_space_is_refused_with_both_named(folder):
    with pytest.raises(WrongSpace, match=rf"'{SPACE}'.*'mini-1'.*build it again") as caught:
        Bank.open(folder, "mini-1")
    assert isinstance(caught.value, StartupError)


@pytest.mark.parametrize("name", ["vectors.npy", "index.faiss", "texts.arrow", "bank.json"])
def test_a_missing_file_is_named_with_the_remedy(folder, name):
    (folder / name).unlink()
    with pytest.raises(BankError, match=rf"{name} is missing; build it again: nextvec bank build DOC"):
        Bank.open(folder)


@pytest.mark.parametrize("name", ["vectors.npy", "index.faiss", "texts.arrow"])
def test_a_changed_file_is_refused(folder, name):
    with (folder / name).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(BankError, match=rf"{name} does not have the SHA-256"):
        Bank.open(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sources": [], "sha256": {}}'])
def test_an_unreadable_record_is_refused(folder, text):
    (folder / "bank.json").write_text(text)
    with pytest.raises(BankError, match="not a bank's record"):
        Bank.open(folder)


def test_files_that_do_not_belong_together_are_refused(folder):
    record = json.loads((folder / "bank.json").read_text())
    (folder / "bank.json").write_text(json.dumps({**record, "entries": 61}))
    with pytest.raises(BankError, match="do not belong together"):
        Bank.open(folder)


def test_a_bank_that_is_replaced_stays_whole_for_who_has_it_open(folder, bank):
    before = bank.raw(range(60))
    write(folder, before[:7])
    np.testing.assert_array_equal(bank.raw(range(60)), before)
    assert len(Bank.open(folder)) == 7
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["bank.json", "index.faiss", "texts.arrow", "vectors.npy"]
    )


def test_nothing_makes_no_bank(tmp_path):
    with pytest.raises(BankError, match="no text"):
        write(tmp_path, np.empty((0, 768)))


def test_two_documents_of_one_id_make_no_bank(tmp_path):
    with pytest.raises(BankError, match="two documents have the id 'a'"):
        write(tmp_path, np.ones((3, 768)), ["a", "b", "a"])


def test_chunks_out_of_order_make_no_bank(tmp_path):
    with pytest.raises(BankError, match="not in reading order"):
        write(tmp_path, np.ones((2, 768)), positions=[1, 0])


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_vector_without_a_direction_makes_no_bank(tmp_path, value):
    vectors = np.ones((3, 768))
    vectors[1] = value
    with pytest.raises(InvalidInput, match="vectors row 1"):
        write(tmp_path, vectors)
