"""The approximate index of a large bank: what it finds, and that the engine's promises hold over it."""

import json
from dataclasses import asdict

import faiss
import numpy as np
import pytest

from nextvec.vectors import unit
from services.snap.bank import Bank, BankError
from services.snap.engine import ProjectItem, SearchItem, SnapEngine
from services.snap.index import EXACT_UP_TO, Index, IndexRecord, exact_nearest
from services.snap.writing import Block, write_bank, write_blocks

CHUNKS = 40
COUNT = EXACT_UP_TO + 2000
DIMENSIONS = 64


@pytest.fixture(scope="module")
def vectors():
    """Documents of 40 chunks that are alike, of any length."""
    random = np.random.default_rng(3)
    topics = np.repeat(random.standard_normal((COUNT // CHUNKS, DIMENSIONS)), CHUNKS, axis=0)
    scale = random.uniform(1, 20, (COUNT, 1))
    return (scale * (topics + random.standard_normal((COUNT, DIMENSIONS)))).astype(np.float16)


@pytest.fixture(scope="module")
def large(vectors, tmp_path_factory):
    """A bank of more entries than are searched exactly, written in blocks."""
    folder = tmp_path_factory.mktemp("large") / "bank"
    blocks = (
        Block(
            vectors[start : start + 5000],
            [f"Chunk {row}." for row in range(start, min(start + 5000, COUNT))],
            [f"document {row // CHUNKS}" for row in range(start, min(start + 5000, COUNT))],
            [row % CHUNKS for row in range(start, min(start + 5000, COUNT))],
        )
        for start in range(0, COUNT, 5000)
    )
    steps = list(write_blocks(folder, blocks, COUNT, space="toy-1"))
    assert [step.done for step in steps if step.step == "writing"] == [5000, 10000, COUNT]
    assert {"training the index", "indexing", "measuring recall"} <= {step.step for step in steps}
    return folder


@pytest.fixture(scope="module")
def bank(large):
    return Bank.open(large, "toy-1")


@pytest.fixture
def queries():
    return unit(np.random.default_rng(4).standard_normal((20, DIMENSIONS)))


def ids(neighbours):
    return [neighbour.entry.id for neighbour in neighbours]


def test_a_small_bank_is_exact_and_says_so(tmp_path, vectors):
    write_bank(tmp_path, vectors[:50], ["text"] * 50, ["a"] * 50, range(50), space="toy-1")
    assert Bank.open(tmp_path).record.index == IndexRecord("exact", recall=1.0)


def test_a_large_bank_is_approximate_and_keeps_its_measured_recall(bank):
    index = bank.record.index
    assert (index.kind, index.lists, index.queries) == ("ivf", 256, 200)
    assert 0.98 <= index.recall <= 1
    assert 0 < index.probes <= index.lists


def test_the_recall_of_other_queries_is_near_the_measured_one(bank, vectors):
    random = np.random.default_rng(5)
    near = vectors[random.choice(COUNT, 200)].astype(np.float32)
    near = unit(unit(near) + 0.1 * random.standard_normal(near.shape))
    found, true = bank.search(near, 16)[1], exact_nearest(vectors, near, 16)[1]
    recall = np.mean([np.isin(t, f).mean() for t, f in zip(true, found, strict=True)])
    assert recall >= 0.9


def test_cosines_are_exact_and_best_come_first(bank, vectors, queries):
    cosines, rows = bank.search(queries, 16)
    exact = np.einsum("qkd,qd->qk", unit(vectors[rows]), queries)
    np.testing.assert_allclose(cosines, exact, atol=1e-5)
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_exact_nearest_is_what_a_full_sort_gives(vectors, queries):
    cosines, rows = exact_nearest(vectors, queries, 7)
    everything = queries @ unit(vectors).T
    np.testing.assert_allclose(cosines, -np.sort(-everything, axis=1)[:, :7], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(everything, rows, 1), cosines, atol=1e-5)


def test_queries_together_find_what_they_find_alone(bank, queries):
    together = bank.search(queries, 16)[1]
    alone = [bank.search(query[None], 16)[1][0] for query in queries]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("k", [1, 300, 5000, COUNT, 2 * COUNT])
def test_as_many_are_found_as_are_asked_for(bank, queries, k):
    rows = bank.search(queries[:2], k)[1]
    assert rows.shape == (2, min(k, COUNT))
    assert all(len(set(found)) == len(found) for found in rows)


def test_lists_that_hold_too_few_are_made_up_for_exactly(vectors):
    """Nearly all entries lie on the far side of the query, in lists that are not probed."""
    trained = faiss.index_factory(DIMENSIONS, "IVF16,PQ16x4fs", faiss.METRIC_INNER_PRODUCT)
    trained.train(unit(vectors[:2000]))
    noise = np.random.default_rng(6).normal(0, 0.01, (2000, DIMENSIONS))
    lopsided = (unit(vectors[0]) + noise).astype(np.float16)
    lopsided[:3] *= -1
    trained.add(unit(lopsided))
    index = Index(trained, lopsided, IndexRecord("ivf", lists=16, probes=1))
    away = unit(lopsided[:1])
    assert (trained.search(away, 40, params=faiss.IVFSearchParameters(nprobe=7))[1] == -1).any()
    cosines, rows = index.search(away, 40)
    np.testing.assert_allclose(cosines, exact_nearest(lopsided, away, 40)[0], atol=1e-3)
    assert set(rows[0][:3]) == {0, 1, 2}


def test_excluded_ids_and_near_duplicates_are_replaced_by_the_next(bank, vectors):
    engine = SnapEngine(bank)
    context = vectors[100:105].astype(np.float32)
    plain = engine.project(ProjectItem(context.mean(0), context[-1], context))
    excluded = frozenset(ids(plain.neighbours)[:8])
    item = ProjectItem(context.mean(0), context[-1], context, exclude_ids=excluded, exclude_cosine=0.98)
    answer = engine.project(item)
    assert len(answer.neighbours) == 16
    assert not (excluded | set(range(100, 105))) & set(ids(answer.neighbours))


def test_thousands_of_excluded_ids_still_leave_neighbours(bank, vectors):
    query = vectors[0].astype(np.float32)
    nearest = exact_nearest(vectors, unit(query)[None], 4096)[1][0]
    found = SnapEngine(bank).search(SearchItem(query, exclude_ids=frozenset(nearest.tolist())))
    assert len(found.neighbours) == 16
    assert not set(nearest) & set(ids(found.neighbours))


def test_what_precedes_the_nearest_is_of_its_document(bank, vectors):
    found = SnapEngine(bank).search(SearchItem(vectors[4007].astype(np.float32), preceding=5))
    assert ids(found.neighbours)[0] == 4007
    assert ids(found.preceding) == [4002, 4003, 4004, 4005, 4006]


def test_the_vectors_stay_on_disk(bank):
    assert isinstance(bank.vectors.base, np.memmap)
    assert not bank.vectors.flags.writeable


def test_an_index_that_is_not_what_the_record_says_is_refused(large, tmp_path):
    with pytest.raises(ValueError, match="not of the kind 'exact'"):
        Index.read(large / "index.faiss", np.load(large / "vectors.npy", mmap_mode="r"), IndexRecord())
    (tmp_path / "i").write_bytes((large / "index.faiss").read_bytes()[:5000])
    with pytest.raises(ValueError, match="is no index"):
        Index.read(tmp_path / "i", np.load(large / "vectors.npy", mmap_mode="r"), IndexRecord("ivf"))


def test_a_damaged_large_bank_is_refused(large, vectors, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in large.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with (copy / "index.faiss").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(BankError, match=r"index.faiss does not have the SHA-256"):
        Bank.open(copy)


def test_the_record_survives_the_disk(bank, large):
    assert json.loads((large / "bank.json").read_text())["index"] == asdict(bank.record.index)
