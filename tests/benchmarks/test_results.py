"""Bars, what is held to them, and the page."""

import importlib.util
import json
from pathlib import Path

from benchmarks.bars import BARS, BENCHES, due
from benchmarks.harness import Options, Spread
from benchmarks.page import page
from benchmarks.results import figure, held, missed, rounded, shown, unmeasured


def test_every_bench_is_a_module_and_every_bar_belongs_to_one():
    assert all(importlib.util.find_spec(f"benchmarks.{name}") for name in BENCHES)
    assert {bar.bench for bar in BARS.values()} <= set(BENCHES)
    assert all(name == bar.name for name, bar in BARS.items())


def test_a_limit_itself_passes_from_either_side():
    assert held("mini_step1_exact", 4.0).passed is True
    assert held("mini_step1_exact", 3.9).passed is False
    assert held("cache_redis", 0.3).passed is True
    assert held("cache_redis", 0.31).passed is False
    assert figure("x", "cache", "x", 1.0, "ms").passed is None


def test_json_has_name_value_bar_and_passed():
    record = held("cache_redis", Spread(0.2, 0.1, 0.4)).as_dict()
    assert (record["name"], record["value"], record["bar"], record["passed"]) == (
        "cache_redis",
        0.2,
        0.3,
        True,
    )
    assert record["quartiles"] == [0.1, 0.4]


def test_what_was_left_out_is_said():
    text = page([held("cache_redis", 0.2)], {"cores": "2"}, ["cache"])
    assert "| hit in Redis on loopback | 0.2 ms |  | ≤ 0.3 | pass |" in text
    assert "## Left out of this run" in text
    assert "- cache: hit in the process (≤ 0.02 ms)" in text
    assert "- cores: 2" in text


def test_a_bar_that_was_owed_a_figure_is_missed_without_one():
    (bar,) = unmeasured([BARS["cache_process"], BARS["cache_redis"]], [held("cache_redis", 0.2)])
    result = missed(bar)
    assert result.passed is False
    record = result.as_dict()
    assert (record["name"], record["value"], record["bar"]) == ("cache_process", None, 0.02)
    json.dumps(record, allow_nan=False)
    assert shown(result) == ("not measured", "", "≤ 0.02", "fail")
    text = page([result], {"cores": "2"}, ["cache"])
    assert "Bars: 0 of 1 reached" in text


def test_a_whole_run_owes_every_bar_and_a_smaller_one_those_of_its_size():
    def names(**changes):
        return {bar.name for bar in due(BENCHES, Options(Path(), **changes))}

    assert names() == set(BARS)
    assert names(quick=True) == set()
    assert names(vectors=1000) == {name for name in BARS if not name.startswith("snap_")}
    assert names(sizes=("mini",)) == {name for name in BARS if not name.startswith("t5_base_")}
    assert names(sizes=("t5-base",)) == {name for name in BARS if not name.startswith("mini_")}


def test_figures_have_three_digits():
    assert [rounded(x) for x in (0.012345, 1.5, 12.34, 20_123.4)] == ["0.0123", "1.5", "12.3", "20,123"]
