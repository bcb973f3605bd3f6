"""Windows from .npz files, this project's own and the older system's."""

import json

import numpy as np
import pytest

from nextvec import weights
from training.sequence_npz import SequencesError, card_of
from training.sequences import Sequences

D = 8


def documents(*lengths, seed=0):
    """Vectors [n, D] of documents."""
    random = np.random.default_rng(seed)
    return [random.standard_normal((n, D)).astype(np.float16) for n in lengths]


def arrays(found):
    """The windows of documents as the four arrays, in reading order."""
    windows = [(doc[i - 5 : i], doc[i], n, i) for n, doc in enumerate(found) for i in range(5, len(doc))]
    context, target, doc_ids, positions = zip(*windows, strict=True)
    return {
        "context_vectors": np.stack(context),
        "target_vectors": np.stack(target),
        "doc_ids": np.array(doc_ids, dtype=np.int32),
        "positions": np.array(positions, dtype=np.int32),
    }


@pytest.fixture
def saved(tmp_path):
    """Writes arrays to an .npz and gives its path."""

    def save(held, save=np.savez):
        save(tmp_path / "windows.npz", **held)
        return tmp_path / "windows.npz"

    return save


def raw(sequences):
    """Contexts, targets, document numbers and positions, as they were stored."""
    rows = sequences.windows[:, None] + np.arange(-5, 1)
    vectors = sequences.vectors[rows]
    at = sequences.windows
    return vectors[:, :5], vectors[:, 5], sequences.document[at], sequences.position[at]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_windows_come_back_and_each_vector_is_kept_once(saved, save):
    held = arrays(documents(9, 6, 3000))
    sequences = Sequences.load(saved(held, save))
    for found, stored in zip(raw(sequences), held.values(), strict=True):
        np.testing.assert_array_equal(found, stored)
    assert len(sequences.vectors) == 9 + 6 + 3000
    assert sequences.ids == ["0", "1", "2"]
    assert sequences.space == ""


def test_shuffled_windows_stand_for_themselves(saved):
    held = arrays(documents(20, 20))
    order = np.random.default_rng(1).permutation(30)
    held = {name: array[order] for name, array in held.items()}
    for found, stored in zip(raw(Sequences.load(saved(held))), held.values(), strict=True):
        np.testing.assert_array_equal(found, stored)


def test_older_names_and_unit_vectors_in_float32_are_read(saved):
    held = arrays(documents(9, 7))
    unit = {
        name: array / np.linalg.norm(array.astype(np.float32), axis=-1, keepdims=True)
        for name, array in list(held.items())[:2]
    }
    older = {
        "context_sequences": unit["context_vectors"],
        "target_vectors": unit["target_vectors"],
        "truth_keys": np.stack((held["doc_ids"] + 70, held["positions"]), axis=1),
        "target_texts": np.array(["text"] * 6, dtype=object),  # never read, being pickled
    }
    sequences = Sequences.load(saved(older))
    context, target = sequences.directions(np.arange(6))
    np.testing.assert_allclose(context, older["context_sequences"], atol=1e-3)
    np.testing.assert_allclose(target, older["target_vectors"], atol=1e-3)
    assert sequences.ids == ["70", "71"]
    assert list(sequences.position[sequences.windows]) == list(held["positions"])


def test_of_longer_contexts_the_last_five_are_taken(saved):
    found = documents(12)[0]
    held = {
        "contexts": np.stack([found[i - 8 : i] for i in range(8, 12)]),
        "targets": found[8:],
    }
    context, _, _, _ = raw(Sequences.load(saved(held)))
    np.testing.assert_array_equal(context, held["contexts"][:, -5:])


def test_windows_that_reach_into_another_document_are_left_out(saved):
    text = np.concatenate(documents(9, 8))
    held = arrays([text])
    held["doc_ids"] = np.array([0] * 4 + [1] * 8, dtype=np.int32)  # of the targets, rows 5 to 16
    sequences = Sequences.load(saved(held))
    assert sequences.crossing == 5
    np.testing.assert_array_equal(sequences.windows, [5, 6, 7, 8, 14, 15, 16])


def test_windows_without_documents_train_but_do_not_split(saved):
    held = arrays(documents(9, 7))
    sequences = Sequences.load(saved({name: held[name] for name in ("context_vectors", "target_vectors")}))
    assert len(sequences) == 6
    with pytest.raises(SequencesError, match=r"do not name their documents \(doc_ids\)"):
        sequences.split(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_vectors": None}, r"has no target_vectors \(nor targets\); it holds context_vectors"),
        ({"target_vectors": np.ones((6, 24), np.float32)}, r"\[6, 24\].*\[N, 5, D\] and \[N, D\] are wanted"),
        ({"context_vectors": np.ones((6, 4, D), np.float32)}, r"context_vectors \[6, 4, 8\]"),
        ({"context_vectors": np.ones((6, 5, D), np.int64)}, "must be floating-point"),
        ({"doc_ids": np.array(["a"] * 6)}, "integers are wanted"),
        ({"doc_ids": np.array(["a"] * 6, dtype=object)}, "doc_ids holds Python objects"),
        ({"positions": np.zeros(5, np.int32)}, r"positions \[5\].*\[6\] integers are wanted"),
        ({"target_vectors": np.zeros((6, D), np.float32)}, "zero or not finite among windows 0 to 5"),
        ({"target_vectors": np.full((6, D), 1e6, np.float32)}, "zero or not finite"),
    ],
)
def test_what_is_no_window_is_refused_with_the_reason(saved, change, message):
    held = arrays(documents(9, 7)) | change
    with pytest.raises(SequencesError, match=message):
        Sequences.load(saved({name: array for name, array in held.items() if array is not None}))


def test_files_that_are_no_npz_or_break_off_are_refused(saved, tmp_path):
    (tmp_path / "text.npz").write_text("windows")
    with pytest.raises(SequencesError, match=r"text.npz cannot be read as .npz"):
        Sequences.load(tmp_path / "text.npz")
    path = saved(arrays(documents(9)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SequencesError, match="cannot be read"):
        Sequences.load(path)


def test_a_card_names_documents_sources_and_space_and_belongs_to_one_file(saved):
    path = saved(arrays(documents(9, 7)))
    card = {
        "sha256": weights.sha256(path),
        "space": "toy-1",
        "sources": [{"source": "a", "licence": "CC0-1.0"}, {"source": "b", "licence": "MIT"}],
        "document_ids": ["x", "y"],
        "document_sources": [1, 0],
    }
    card_of(path).write_text(json.dumps(card))
    sequences = Sequences.load(path)
    assert sequences.space == "toy-1"
    assert sequences.ids == ["x", "y"]
    assert [origin.source for origin in sequences.origins] == ["b", "a"]
    card_of(path).write_text(json.dumps(card | {"document_ids": ["x"]}))
    with pytest.raises(SequencesError, match="does not name all documents"):
        Sequences.load(path)
    card_of(path).write_text(json.dumps(card | {"sha256": "00"}))
    with pytest.raises(SequencesError, match="the card of another file"):
        Sequences.load(path)
