"""Files of texts and vectors."""

import json

import numpy as np
import pytest

from nextvec.cli.files import read_texts, read_vectors, windows, write_vectors
from nextvec.errors import InvalidInput
from nextvec.family import Family


@pytest.fixture(scope="module")
def family():
    """The default family."""
    return Family.open("mini")


@pytest.fixture
def vectors():
    """Seven vectors."""
    return np.random.default_rng(1).standard_normal((7, 768), dtype=np.float32)


def test_vectors_come_back_with_their_space(tmp_path, family, vectors):
    write_vectors(tmp_path / "v.npy", vectors, "other-1")
    found, space = read_vectors(tmp_path / "v.npy", family)
    np.testing.assert_array_equal(found, vectors)
    assert space == "other-1"


def test_vectors_without_a_record_are_taken_for_the_familys_and_that_is_said(
    tmp_path, family, vectors, capsys
):
    np.save(tmp_path / "v.npy", vectors.astype(np.float64))
    found, space = read_vectors(tmp_path / "v.npy", family)
    assert found.dtype == np.float32
    assert space == family.space
    assert family.space in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not numpy", "is not a .npy file"),
        (np.ones((2, 5), np.float32), r"\[2, 5\]"),
        (np.ones((2, 768), np.int64), "int64"),
        (np.zeros((2, 768), np.float32), "all zeros"),
        (np.full((2, 768), np.nan, np.float32), "must be finite"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, family, content, message):
    path = tmp_path / "v.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(InvalidInput, match=message):
        read_vectors(path, family)


def test_a_record_that_is_none_is_refused(tmp_path, family, vectors):
    write_vectors(tmp_path / "v.npy", vectors, "s")
    (tmp_path / "v.npy.json").write_text(json.dumps(["no"]))
    with pytest.raises(InvalidInput, match="not a record"):
        read_vectors(tmp_path / "v.npy", family)


def test_a_sequence_gives_every_five_in_a_row(tmp_path, vectors):
    contexts = windows(vectors, 5, tmp_path)
    assert contexts.shape == (3, 5, 768)
    np.testing.assert_array_equal(contexts[2], vectors[2:7])
    np.testing.assert_array_equal(windows(contexts, 5, tmp_path), contexts)
    with pytest.raises(InvalidInput, match="at least 5"):
        windows(vectors[:4], 5, tmp_path)
    with pytest.raises(InvalidInput, match=r"must be \[N, 5, D\]"):
        windows(contexts[:, :3], 5, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"one\n\nthree\n", "line 2 is blank"), (b"\xff", "not UTF-8")],
)
def test_texts_are_one_on_each_line(tmp_path, content, message):
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_texts(path)
    path.write_text("one\ntwo\n")
    assert read_texts(path) == ["one", "two"]
