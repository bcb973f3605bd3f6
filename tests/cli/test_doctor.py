"""`nextvec doctor` finds what is missing and says what to do."""

import json
import shutil
from pathlib import Path

import pytest

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


@pytest.fixture
def doctor(nextvec, tmp_path, monkeypatch):
    """Runs `nextvec doctor --json` on a copy of the small parts of the family; a finding by its check."""
    monkeypatch.delenv("NEXTVEC_REDIS_URL", raising=False)
    shutil.copytree(
        ARTIFACTS / "families" / "mini",
        tmp_path / "families" / "mini",
        ignore=shutil.ignore_patterns("model.safetensors", "bank"),
    )

    def run(*arguments):
        result = nextvec("doctor", "--artifacts", tmp_path, "--json", *arguments)
        report = json.loads(result.stdout)
        assert report["ok"] == (result.exit_code == 0)
        return {(finding["part"], finding["check"]): finding for finding in report["findings"]}

    return run


def test_what_is_there_is_ok_and_what_is_missing_has_a_remedy(doctor):
    found = doctor()
    assert found["core", "python"]["ok"]
    assert found["core", "packages"]["ok"]
    assert found["encoder", "weights"]["ok"]
    for part, check in (("decoder", "inverter"), ("lvm", "amn"), ("snap", "bank")):
        assert not found[part, check]["ok"]
        assert found[part, check]["remedy"]
    assert "is not set" in found["decoder", "redis"]["found"]


def test_the_bank_that_is_set_is_the_one_that_is_looked_at(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTVEC_BANK", str(tmp_path / "none"))
    bank = doctor("--part", "snap")["snap", "bank"]
    assert f"no bank in {tmp_path / 'none'}" in bank["found"]
    assert "correct NEXTVEC_BANK" in bank["remedy"]


def test_encoder_weights_of_another_model_are_refused_by_their_digest(doctor, tmp_path):
    (tmp_path / "families" / "mini" / "encoder" / "model.safetensors").write_bytes(b"something else")
    weights = doctor("--part", "encoder")["encoder", "weights"]
    assert not weights["ok"]
    assert "must have 53aa5117" in weights["found"]


def test_one_part_alone_is_checked_for_a_machine_that_runs_no_other(doctor):
    parts = {part for part, _ in doctor("--part", "gateway")}
    assert parts == {"core", "gateway"}


def test_redis_is_reached_or_reported_without_its_password(doctor, redis_process):
    assert doctor("--redis-url", redis_process.url)["decoder", "redis"]["ok"]
    redis_process.stop()
    url = redis_process.url.replace("//", "//:secret@")
    finding = doctor("--redis-url", url)["decoder", "redis"]
    assert not finding["ok"]
    assert "secret" not in finding["found"]
    malformed = doctor("--redis-url", "redis+cluster://:secret@a/1")["decoder", "redis"]
    assert "a Redis Cluster has database 0 alone" in malformed["found"]
    assert "secret" not in malformed["found"]


def test_an_unknown_family_and_an_unknown_part_are_named(doctor, nextvec):
    assert "have: mini" in doctor("--family", "gpt")["core", "family"]["found"]
    assert nextvec("doctor", "--part", "kitchen").exit_code == 5


def test_every_line_for_people_is_ok_or_a_problem_with_a_remedy(nextvec):
    lines = nextvec("doctor", "--part", "gateway").stdout.splitlines()
    assert all(line.startswith(("ok", "problem", "        do:")) for line in lines[:-1])
