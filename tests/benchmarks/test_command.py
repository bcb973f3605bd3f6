"""The command's exit code and records, on machines that cannot measure everything."""

import json

import pytest

from benchmarks import machine


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 0)


def test_a_bench_that_could_not_measure_its_bars_misses_them(nextvec, no_memory):
    run = nextvec("bench", "snap", "--json")
    assert run.exit_code == 1
    records = {record["name"]: record for record in json.loads(run.stdout)}
    assert records.keys() == {"snap_project", "snap_recall"}
    assert all(r["value"] is None and r["bar"] and r["passed"] is False for r in records.values())
    assert "not measured snap" in run.stderr


@pytest.mark.parametrize("smaller", [("--quick",), ("--vectors", "1000")])
def test_a_bench_that_is_asked_for_less_owes_nothing(nextvec, no_memory, smaller):
    run = nextvec("bench", "snap", *smaller, "--json")
    assert run.exit_code == 0
    assert json.loads(run.stdout) == []
