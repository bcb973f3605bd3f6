"""Bars, what is held to them, and the page."""

import importlib.util

from benchmarks.bars import BARS, BENCHES
from benchmarks.harness import Spread
from benchmarks.page import page
from benchmarks.results import figure, held, rounded, unmeasured


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


def test_what_was_not_measured_is_said():
    results = [held("cache_redis", 0.2)]
    assert [bar.name for bar in unmeasured(results, ["cache"])] == ["cache_process"]
    text = page(results, {"cores": "2"}, ["cache"])
    assert "| hit in Redis on loopback | 0.2 ms |  | ≤ 0.3 | pass |" in text
    assert "Not measured" in text
    assert "- cores: 2" in text


def test_figures_have_three_digits():
    assert [rounded(x) for x in (0.012345, 1.5, 12.34, 20_123.4)] == ["0.0123", "1.5", "12.3", "20,123"]
