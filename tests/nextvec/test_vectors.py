import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nextvec.errors import InvalidInput, WrongSpace
from nextvec.v1.vectors_pb2 import D_TYPE_FLOAT32, VectorBlock
from nextvec.vectors import check_vectors, cosine, from_block, require_space, to_block, unit


def some(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(768,), (1, 768), (3, 768), (2, 5, 768)])
def test_float32_round_trip_is_exact(shape):
    vectors = some(*shape)
    back = from_block(to_block(vectors, "s"), "x", ndim=(1, 2, 3))
    np.testing.assert_array_equal(back, vectors)
    assert back.dtype == np.float32


def test_float16_round_trip_is_exact_for_half_precision_values():
    vectors = some(4, 768).astype(np.float16)
    block = to_block(vectors, "s", dtype="float16")
    assert len(block.data) == 4 * 768 * 2
    np.testing.assert_array_equal(from_block(block, "x"), vectors.astype(np.float32))


def test_the_wire_is_little_endian_and_row_major():
    vectors = np.asfortranarray(some(2, 768)).astype(">f4")
    assert to_block(vectors, "s").data == vectors.astype("<f4").tobytes()


def test_reading_float32_does_not_copy():
    assert not from_block(to_block(some(2, 768), "s"), "x").flags.owndata


def bad(**changes):
    block = to_block(some(2, 768), "s")
    for name, value in changes.items():
        if name == "shape":
            block.shape[:] = value
        else:
            setattr(block, name, value)
    return block


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (VectorBlock(), "context.dtype is D_TYPE_UNSPECIFIED; must be"),
        (bad(dtype=77), "context.dtype is 77; must be"),
        (bad(shape=[2, 2, 384]), "must have 1 or 2 axes"),
        (bad(shape=[]), "must have 1 or 2 axes"),
        (bad(shape=[4, 384]), "the last axis must be 768"),
        (bad(shape=[0, 768], data=b""), "every axis must be at least 1"),
        (bad(shape=[3, 768]), "has 6144 bytes; float32 of shape [3, 768] has 9216"),
        (bad(shape=[2**32 - 1, 768]), "has 6144 bytes"),
        (bad(data=b"123"), "context.data has 3 bytes"),
    ],
)
def test_a_bad_block_is_refused_with_field_value_and_limit(block, message):
    with pytest.raises(InvalidInput) as caught:
        from_block(block, "context")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "context row 1 has nan at 5; must be finite"),
        (np.inf, "context row 1 has inf at 5; must be finite"),
        (3e38, "context row 1 has norm 3e+38; must be from 1e-06 to 1e+06"),
    ],
)
def test_a_vector_with_a_bad_element_is_refused(value, message):
    vectors = some(2, 768)
    vectors[1, 5] = value
    with pytest.raises(InvalidInput) as caught:
        from_block(to_block(vectors, "s"), "context")
    assert caught.value.message == message


def test_a_zero_vector_is_refused():
    vectors = some(2, 768)
    vectors[1] = 0
    with pytest.raises(InvalidInput, match="context row 1 is all zeros"):
        from_block(to_block(vectors, "s"), "context")


def test_an_array_of_another_dimension_is_refused():
    with pytest.raises(InvalidInput, match="the last axis must be 768"):
        check_vectors(some(2, 384), "query")


def test_another_space_is_refused_naming_both():
    block = VectorBlock(dtype=D_TYPE_FLOAT32, space="theirs")
    with pytest.raises(WrongSpace, match=r"vector\.space is 'theirs'; this stage works in 'ours'"):
        require_space(block, "ours", "vector")
    with pytest.raises(WrongSpace, match=r"vector\.space is not set"):
        require_space(VectorBlock(), "ours", "vector")
    require_space(block, "theirs", "vector")


rows = hnp.arrays(np.float32, (3, 8), elements=st.floats(-1000, 1000, width=32))


@given(rows)
def test_unit_has_norm_one_or_zero(x):
    norms = np.linalg.norm(unit(x), axis=-1)
    zero = ~x.any(axis=-1)
    assert np.allclose(norms[~zero & (np.abs(x).max(axis=-1) > 1e-12)], 1, atol=1e-5)
    assert not norms[zero].any()


@given(rows, rows)
def test_cosine_is_symmetric_and_bounded(a, b):
    np.testing.assert_allclose(cosine(a, b), cosine(b, a))
    assert (np.abs(cosine(a, b)) <= 1 + 1e-5).all()


def test_cosine_broadcasts_one_against_many():
    many = some(4, 768)
    assert cosine(many[2], many).shape == (4,)
    assert cosine(many[2], many)[2] == pytest.approx(1, abs=1e-6)
