"""Which vectors share an entry, and how entries travel."""

import numpy as np
import pytest

from services.decoder.cache import Keys, StandingCodec, quantised
from services.decoder.walk import Hypothesis, Standing

RANDOM = np.random.default_rng(4)
VECTOR = RANDOM.normal(0, 1.3, 768).astype(np.float32)


def test_the_differences_of_batching_rarely_change_the_cell():
    same = 0
    for _ in range(200):
        vector = RANDOM.normal(0, 1, 768).astype(np.float32)
        noise = 1e-6 * RANDOM.normal(0, 1, 768).astype(np.float32)
        same += quantised(vector) == quantised(vector + noise)
    assert same >= 180


def test_vectors_of_a_cell_are_as_good_as_equal():
    step = 2.0 ** np.floor(np.log2(np.sqrt(np.mean(VECTOR**2)))) / 64
    centre = (np.rint(VECTOR / step) * step).astype(np.float32)
    corner = (centre + 0.49 * step * RANDOM.choice([-1, 1], 768)).astype(np.float32)
    other = (centre - (corner - centre)).astype(np.float32)
    assert quantised(corner) == quantised(other)
    assert np.dot(corner, other) / np.linalg.norm(corner) / np.linalg.norm(other) > 0.9999


@pytest.mark.parametrize("factor", [1e-6, 0.5, 2.0, 1.1, 1e4])
def test_another_length_is_another_cell(factor):
    assert quantised(VECTOR) != quantised(VECTOR * np.float32(factor))


def test_family_decoder_vector_and_rung_are_in_the_key():
    key = Keys("toy-1", "abc").of(VECTOR)
    others = {
        Keys("toy-2", "abc").of(VECTOR),
        Keys("toy-1", "abd").of(VECTOR),
        Keys("toy-1", "abc").of(-VECTOR),
    }
    assert key not in others
    assert len(others) == 3
    assert Keys.at(key, 1) != Keys.at(key, 3)


def test_a_standing_survives_the_journey():
    best = Hypothesis(1, (0, 5, 1), "Ein “Fährmann”\n", 0.75)
    standing = Standing(best, Hypothesis(3, (0, 7, 7, 1), "", -0.25), True)
    codec = StandingCodec()
    assert repr(codec.decode(codec.encode(standing))) == repr(standing)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b'{"best": 1, "last": 2, "closed": true}', b"\xff"])
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON and UTF-8 have their own subclasses
        StandingCodec().decode(data)


def test_a_standing_resumes_where_it_stood():
    best, last = Hypothesis(1, (0, 5, 1), "five", 0.75), Hypothesis(3, (0, 7, 1), "seven", 0.5)
    walk = Standing(best, last, False).resume(None)
    assert (walk.steps, walk.best, walk.last, walk.closed) == (3, best, last, False)
    walk.add(Hypothesis(4, (0, 5, 1), "five", 0.75))
    assert walk.closed, "the best had come before"
