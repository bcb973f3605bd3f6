"""`nextvec keys`, and commands that show a key."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.keys import KeyFile, digest
from nextvec.cli.keys import create, revoke


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def test_a_key_is_printed_once_and_kept_as_a_digest(nextvec, file):
    result = nextvec("keys", "create", "--file", file, "--id", "newsroom")
    assert result.exit_code == 0
    found = re.fullmatch(r"nv_newsroom_([0-9a-f]{64})\n", result.stdout)
    assert found
    (key,) = KeyFile.read(file).keys
    assert key.sha256 == digest(found[1])
    assert found[1] not in file.read_text()
    assert found[1] not in nextvec("keys", "list", "--file", file, "--json").stdout


def test_limits_go_into_the_file_and_the_list(nextvec, file):
    limits = ["--requests-per-second", "2.5", "--chunks-per-minute", "60", "--expires-in", "90d"]
    nextvec("keys", "create", "--file", file, "--id", "a", *limits, "--route", "amn", "--route", "gru")
    nextvec("keys", "create", "--file", file)
    first, second = json.loads(nextvec("keys", "list", "--file", file, "--json").stdout)
    assert (first["requests_per_second"], first["chunks_per_minute"]) == (2.5, 60)
    assert first["routes"] == ["amn", "gru"]
    assert first["expires"]
    assert not first["expired"]
    assert re.fullmatch("[0-9a-f]{8}", second["id"])
    assert second["routes"] is None
    table = nextvec("keys", "list", "--file", file).stdout
    assert "amn, gru" in table
    assert "never" in table


def test_a_revoked_key_is_gone(nextvec, file):
    for key_id in ("a", "b"):
        nextvec("keys", "create", "--file", file, "--id", key_id)
    assert nextvec("keys", "revoke", "a", "--file", file).exit_code == 0
    assert [key.id for key in KeyFile.read(file).keys] == ["b"]
    again = nextvec("keys", "revoke", "a", "--file", file)
    assert again.exit_code == 5
    assert "have b" in again.stderr


def test_changes_at_once_are_all_kept(nextvec, file, monkeypatch):
    nextvec("keys", "create", "--file", file, "--id", "old")
    read = KeyFile.read.__func__

    def read_slowly(cls, path):
        keys = read(cls, path)
        time.sleep(0.1)
        return keys

    monkeypatch.setattr(KeyFile, "read", classmethod(read_slowly))
    with ThreadPoolExecutor(5) as pool:
        changes = [pool.submit(create, file, key_id=f"new-{number}") for number in range(4)]
        changes.append(pool.submit(revoke, "old", file))
        for change in changes:
            change.result()
    assert sorted(key.id for key in read(KeyFile, file).keys) == [f"new-{number}" for number in range(4)]


def test_a_folder_that_is_not_there_is_named(nextvec, tmp_path):
    result = nextvec("keys", "create", "--file", tmp_path / "none" / "keys.json")
    assert result.exit_code == 2
    assert "make the folder" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--id", "Not An Id"], "lower-case letters"),
        (["--id", "taken"], "more than once"),
        (["--expires-in", "soon"], "such as 90d"),
        (["--route", "os"], "unknown route 'os'"),
        (["--requests-per-second", "0"], "greater than 0"),
    ],
)
def test_a_wrong_option_leaves_the_file_as_it_was(nextvec, file, arguments, message):
    nextvec("keys", "create", "--file", file, "--id", "taken")
    before = file.read_bytes()
    result = nextvec("keys", "create", "--file", file, *arguments)
    assert result.exit_code == 3
    assert message in result.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("command", [["complete", "One."], ["complete", "One.", "--stream"], ["routes"]])
def test_commands_show_the_key_of_the_environment(nextvec, toy_gateway, monkeypatch, command):
    key = f"nv_a_{'0' * 64}"
    monkeypatch.setenv("NEXTVEC_API_KEY", key)
    assert nextvec(*command, "--address", toy_gateway.address).exit_code == 0
    assert toy_gateway.metadata["authorization"] == f"Bearer {key}"


def test_what_is_no_key_is_not_sent_and_not_quoted(nextvec, toy_gateway, monkeypatch):
    monkeypatch.setenv("NEXTVEC_API_KEY", "hunter2")
    result = nextvec("complete", "One.", "--address", toy_gateway.address)
    assert result.exit_code == 9
    assert "hunter2" not in result.stderr
    assert not toy_gateway.requests
