import numpy as np
import pytest

from gateway.context import SLOTS, Context, Found, diverse, fill
from nextvec.v1.gateway_pb2 import (
    CONTEXT_SOURCE_ANN,
    CONTEXT_SOURCE_MIXED,
    CONTEXT_SOURCE_REPEAT_PAD,
    CONTEXT_SOURCE_SEQ,
)
from nextvec.v1.snap_pb2 import Neighbour
from tests.gateway.toys import embed

OWN = ["third", "fourth"]


def rows(texts):
    return np.stack([embed(text) for text in texts]) if texts else np.empty((0, 768), np.float32)


def entries(texts, first_id):
    return [Neighbour(id=first_id + number, text=text) for number, text in enumerate(texts)]


def found(neighbours=(), preceding=()):
    return Found(entries(neighbours, 100), rows(neighbours), entries(preceding, 200), rows(preceding))


def filled(bank, own=OWN):
    context = fill(own, rows(own), bank)
    # Whatever the kind: five slots, the caller's own last and in order, each vector its text's.
    assert len(context.texts) == SLOTS
    assert list(context.texts[-len(own) :]) == own
    assert context.own == len(own)
    np.testing.assert_array_equal(context.vectors, rows(context.texts))
    return context


def test_five_own_chunks_are_a_sequence():
    context = Context.all_own(["a", "b", "c", "d", "e"], rows("abcde"))
    assert context.source == CONTEXT_SOURCE_SEQ
    assert context.own == 5


def test_chunks_that_precede_the_neighbour_come_first_and_are_called_mixed():
    context = filled(found(["near"], ["zero", "first", "second"]))
    assert context.texts == ("zero", "first", "second", "third", "fourth")
    assert context.source == CONTEXT_SOURCE_MIXED
    assert context.bank_ids == (200, 201, 202)


def test_more_preceding_chunks_than_slots_leave_the_nearest_ones():
    assert filled(found(["near"], ["x", "zero", "first", "second"])).texts[0] == "zero"


def test_neighbours_stand_before_preceding_chunks_and_the_source_is_the_lesser_one():
    context = filled(found(["near", "far"], ["second"]))
    assert set(context.texts[:2]) == {"near", "far"}
    assert context.texts[2] == "second"
    assert context.source == CONTEXT_SOURCE_ANN


def test_an_empty_bank_repeats_the_first_chunk_and_says_so():
    for bank in (None, found()):
        context = filled(bank)
        assert context.texts == ("third", "third", "third", "third", "fourth")
        assert context.source == CONTEXT_SOURCE_REPEAT_PAD
        assert context.bank_ids == ()


def test_a_bank_that_does_not_suffice_is_used_and_its_oldest_chunk_repeated():
    context = filled(found(["near"]))
    assert context.texts == ("near", "near", "near", "third", "fourth")
    assert context.source == CONTEXT_SOURCE_REPEAT_PAD


@pytest.mark.parametrize("own", [["third"], OWN, [*OWN, "fifth"], [*OWN, "fifth", "sixth"]])
@pytest.mark.parametrize("neighbours", [0, 1, 3, 16])
@pytest.mark.parametrize("preceding", [0, 1, 2, 4])
def test_a_filled_context_is_never_called_a_sequence(own, neighbours, preceding):
    bank = found([f"n{i}" for i in range(neighbours)], [f"p{i}" for i in range(preceding)])
    assert filled(bank, own).source != CONTEXT_SOURCE_SEQ


def test_near_duplicates_of_own_chunks_fill_no_slot():
    context = filled(found(["third", "other"]))
    assert context.texts.count("third") == 1


def test_diverse_picks_are_near_the_query_and_unlike_each_other():
    query, other = np.eye(768, dtype=np.float32)[:2]
    near, same, different = query + 0.5 * other, query + 0.52 * other, query - 0.6 * other
    picks = diverse(query, np.stack([near, same, different]), np.eye(768)[2:3], 3)
    assert picks == [0, 2]


def test_a_window_slides_by_what_is_added_and_keeps_its_size():
    context = Context.all_own(["a", "b", "c", "d", "e"], rows("abcde")).slide(["f", "g"], rows("fg"))
    assert context.texts == ("c", "d", "e", "f", "g")
    np.testing.assert_array_equal(context.vectors, rows("cdefg"))
    alone = Context.all_own(["a"], rows("a")).slide(["b"], rows("b"))
    assert alone.texts == ("b",)
