"""The audit tells a vulnerability from a service that cannot be reached."""

import json
import runpy
import subprocess
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "audit.py"))


def answering(stdout="", stderr=""):
    """What runs instead of the service's client."""

    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, stdout, stderr)

    return run


def listing(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        (listing(GOOD), 0, "1 packages audited, 0 vulnerabilities"),
        (listing(GOOD, BAD), 1, "jinja2 2.4.1: PYSEC-2014-8, fixed in 2.7.2"),
        (listing(GOOD, UNKNOWN), 0, "NOT AUDITED: 1 that the service does not know"),
        (listing(UNKNOWN), 0, "NOT AUDITED: the advisory service knows none"),
    ],
)
def test_the_verdict_says_what_was_audited(output, code, words):
    found, lines = TOOL["audit"](answering(output))
    assert found == code
    assert words in "\n".join(lines)


def test_a_service_that_cannot_be_reached_is_said_and_fails_nothing():
    found, lines = TOOL["audit"](answering(stderr="...\nConnectionError: Failed to resolve 'advisories'"))
    assert found == 0
    assert lines[0].startswith("NOT AUDITED: the advisory service cannot be reached: ConnectionError")


def test_a_missing_client_is_a_fault():
    found, _ = TOOL["audit"](answering(stderr="python: No module named pip_audit"))
    assert found == 2


def test_every_accepted_advisory_has_its_reason():
    assert all(len(reason.split()) > 5 for reason in TOOL["ACCEPTED"].values())
