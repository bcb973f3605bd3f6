import numpy as np
import pytest

from training.evaluation import intervals


def test_a_mean_is_the_mean_over_chunks_and_not_over_documents():
    found = intervals.mean(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]))
    assert found.value == pytest.approx(0.75)
    assert found.low <= found.value <= found.high


def test_chunks_of_one_document_tell_nothing_about_others():
    found = intervals.mean(np.random.default_rng(0).random(50), np.zeros(50, int))
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)


def test_an_interval_by_document_is_wider_than_one_that_takes_chunks_for_independent():
    random = np.random.default_rng(0)
    documents = np.repeat(np.arange(20), 30)
    values = random.normal(size=20)[documents] + 0.1 * random.normal(size=600)
    by_document = intervals.mean(values, documents)
    by_chunk = intervals.mean(values, np.arange(600))
    assert by_document.high - by_document.low > 3 * (by_chunk.high - by_chunk.low)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    documents = np.repeat(np.arange(30), 4)
    hits = 0
    for _ in range(100):
        found = intervals.mean(random.normal(size=30)[documents], documents)
        hits += found.low <= 0 <= found.high
    assert 85 <= hits <= 99


def test_values_that_are_not_known_are_left_out():
    assert intervals.mean(np.array([1, np.nan, 3]), np.array([0, 1, 1])).value == 2


def test_a_ratio_divides_sums():
    found = intervals.ratio(np.array([1.0, 3]), np.array([2.0, 2]), np.array([0, 1]))
    assert (found.value, found.low, found.high) == pytest.approx((1, 0.5, 1.5))


def test_the_same_rows_give_the_same_interval():
    values, documents = np.random.default_rng(0).random(40), np.arange(40) // 4
    assert intervals.mean(values, documents) == intervals.mean(values, documents)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        intervals.mean(np.array([np.nan]), np.array([0]))
