"""When a walk is closed, and what comes after."""

import pytest

from services.decoder.walk import Hypothesis, Walk


def walked(*ids, cosines=None):
    walk = Walk(None)
    for step, token in enumerate(ids):
        cosine = cosines[step] if cosines else 0.0
        walk.add(Hypothesis(step, (0, token), str(token), cosine))
    return walk


def test_a_hypothesis_that_returns_unchanged_closes_the_walk():
    assert not walked(5, 6, 7).closed
    assert walked(5, 6, 6).closed
    assert walked(5, 6, 6).reaches(5)


def test_the_last_text_of_a_fixed_point_stays():
    walk = walked(5, 6, 6)
    assert [walk.at(step).text for step in range(6)] == ["5", "6", "6", "6", "6", "6"]


def test_two_texts_in_turn_close_the_walk_and_go_on_in_turn():
    walk = walked(5, 6, 7, 6)
    assert walk.closed
    assert [walk.at(step).text for step in range(8)] == ["5", "6", "7", "6", "7", "6", "7", "6"]


def test_an_open_walk_knows_no_further_text():
    with pytest.raises(IndexError, match="has 2 corrections, not 3"):
        walked(5, 6, 7).at(3)


def test_the_best_is_the_nearest_and_of_equals_the_earliest():
    assert walked(5, 6, 7, cosines=[0.1, 0.9, 0.9]).best.step == 1
    assert walked(5, 6, 7, cosines=[0.1, 0.9, 0.9]).last.step == 2
