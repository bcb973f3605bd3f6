"""Arithmetic of measurements: quartiles, ratios, turns."""

import pytest

from benchmarks.harness import Spread, interleaved, repeated, speedup


def test_a_spread_is_the_median_between_its_quartiles():
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(3, 2, 4)
    assert Spread.of([7]) == Spread(7, 7, 7)
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


def test_other_units():
    assert Spread(2, 1, 4).times(10) == Spread(20, 10, 40)
    assert Spread(2, 1, 4).inverse(8) == Spread(4, 2, 8)


def test_a_speedup_is_the_median_of_the_rounds_ratios():
    assert speedup([4, 100, 9], [2, 1, 3]).median == 3
    with pytest.raises(ValueError, match="shorter"):
        speedup([1, 2], [1])


def test_sides_take_turns_in_either_order_and_know_the_round():
    calls = []
    sides = {name: (lambda turn, name=name: calls.append((name, turn))) for name in "ab"}
    seconds = interleaved(sides, rounds=2, warmup=1)
    assert calls == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}


async def test_what_is_awaited_is_warmed_up_too():
    calls = []

    async def call():
        calls.append(1)

    assert len(await repeated(call, rounds=3, warmup=2)) == 3
    assert len(calls) == 5
