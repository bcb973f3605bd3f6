"""A load on a system that runs already: what fails or is lessened is counted, and ends the command with 1."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import scale
from benchmarks.harness import Options
from benchmarks.scale import against
from benchmarks.systems import Scalable, Systems
from nextvec.errors import InvalidInput, StageUnavailable

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


def load(gateway):
    results = against(gateway.address, clients=2, seconds=1, options=Options(ARTIFACTS))
    return {result.name: result for result in results}


def test_lessened_answers_are_counted_apart_from_failures(toy_gateway):
    found = load(toy_gateway)
    assert found["scale_failed"].value == 0
    assert found["scale_failed"].passed
    assert found["scale_degraded"].value == len(toy_gateway.requests) > 0
    assert not found["scale_degraded"].passed
    assert found["scale_served"].value > 0
    assert found["scale_p50"].value <= found["scale_p99"].value


def test_every_failure_is_counted_and_no_time_made_up_for_it(toy_gateway):
    toy_gateway.failure = InvalidInput("messages: nothing is right")  # which no client tries again
    found = load(toy_gateway)
    assert found["scale_failed"].value == len(toy_gateway.requests) > 0
    assert not found["scale_failed"].passed
    assert found["scale_served"].value == 0
    assert "scale_p50" not in found


def test_requests_just_after_the_number_of_decoders_changed_are_counted_too(toy_gateway, monkeypatch):
    monkeypatch.setattr(scale, "_QUICK_SECONDS", 0.2)
    monkeypatch.setattr(scale, "_WARMUP_SECONDS", 0.2)
    changes = []

    async def decoders(count):
        changes.append(count)

    @asynccontextmanager
    async def scalable():
        yield Scalable({"direct": toy_gateway.address}, decoders)

    results = scale.run(Options(ARTIFACTS, quick=True), Systems(None, None, scalable))
    found = {result.name: result for result in results}
    assert changes == [1, 2, 2]
    assert found["scale_degraded"].value == len(toy_gateway.requests)
    assert found["scale_failed"].value == 0


def test_no_two_requests_are_alike(toy_gateway):
    load(toy_gateway)
    asked = [tuple(request.messages) for request in toy_gateway.requests]
    assert len(set(asked)) == len(asked)


def test_the_command_exits_with_1_when_a_request_fails(toy_gateway, nextvec):
    toy_gateway.failure = StageUnavailable("the decoder sleeps")
    address = toy_gateway.address
    run = nextvec("bench", "scale", "--address", address, "--seconds", "1", "--json")
    assert run.exit_code == 1
    assert "requests ended with UNAVAILABLE" in run.stderr
    failed = next(record for record in json.loads(run.stdout) if record["name"] == "scale_failed")
    assert failed["value"] > 0
    assert (failed["bar"], failed["passed"]) == (0, False)
