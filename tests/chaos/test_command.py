"""The command's verdict on figures, with nothing broken."""

import json
import sys

import pytest

from tests.chaos import __main__ as command
from tests.chaos.bars import BARS, held

SLOW = held("throughput", 1.2)
WRONG = held("redis_wrong", 1)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run("--short", found=[...])` gives the exit code and the records of a run that found these figures."""

    def main(*options, found, scenarios=("throughput",)):
        async def measure(wanted, *, short):
            return found, []

        monkeypatch.setattr(command, "measure", measure)
        out = tmp_path / "chaos.json"
        monkeypatch.setattr(sys, "argv", ["chaos", *scenarios, *options, "--out", str(out)])
        return command.main(), json.loads(out.read_text())

    return main


def test_the_short_form_shows_speed_and_does_not_judge_it(run):
    assert run(found=[SLOW])[0] == 1
    code, (record,) = run("--short", found=[SLOW])
    assert code == 0
    assert (record["value"], record["bar"], record["passed"]) == (1.2, None, None)


def test_the_short_form_judges_everything_else(run):
    assert run("--short", found=[SLOW, WRONG])[0] == 1


def test_of_all_scenarios_every_bar_is_in_the_records_whether_measured_or_not(run):
    code, records = run(found=[held("redis_wrong", 0)], scenarios=())
    assert code == 1
    assert {record["name"] for record in records} == set(BARS)
    lost = next(record for record in records if record["name"] == "lost_failed")
    assert (lost["value"], lost["bar"], lost["passed"]) == (None, 0, False)
