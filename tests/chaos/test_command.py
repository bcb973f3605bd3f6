"""The command's verdict on figures, with nothing broken."""

import json
import sys

import pytest

from tests.chaos import __main__ as command
from tests.chaos.bars import held

SLOW = held("throughput", 1.2)
WRONG = held("redis_wrong", 1)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run("--short", found=[...])` gives the exit code and the records of a run that found these figures."""

    def main(*options, found):
        async def measure(wanted, *, short):
            return found, []

        monkeypatch.setattr(command, "measure", measure)
        out = tmp_path / "chaos.json"
        monkeypatch.setattr(sys, "argv", ["chaos", "throughput", *options, "--out", str(out)])
        return command.main(), json.loads(out.read_text())

    return main


def test_the_short_form_shows_speed_and_does_not_judge_it(run):
    assert run(found=[SLOW])[0] == 1
    code, (record,) = run("--short", found=[SLOW])
    assert code == 0
    assert (record["value"], record["bar"], record["passed"]) == (1.2, None, None)


def test_the_short_form_judges_everything_else(run):
    assert run("--short", found=[SLOW, WRONG])[0] == 1
