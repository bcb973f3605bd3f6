"""The commands against a real system, and one stage at a time."""

import json
import socket

import numpy as np
import pytest

from nextvec.cli.layout import Layout
from nextvec.routes import ROUTES
from tests.e2e.running import PARAGRAPH, nextvec

SENTENCES = PARAGRAPH.replace(". ", ".\n") + "\nWe opened all the windows.\n"


def test_complete_streams_hypotheses_and_three_chunks(system):
    result = nextvec(
        "complete",
        PARAGRAPH,
        "--address",
        system.address("lstm"),
        "--chunks",
        3,
        "--stream",
        "--bypass-cache",
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3
    assert "step 0" in result.stderr


def test_routes_say_what_each_model_was_trained_on(system):
    records = json.loads(nextvec("routes", "--address", system.address("amn"), "--json").stdout)
    assert [record["route"] for record in records] == [route.name for route in ROUTES]
    assert all(record["trained_on"] for record in records if record["route"] != "direct")


def test_offline_the_model_folders_say_the_same(system):
    online = json.loads(nextvec("routes", "--address", system.address("amn"), "--json").stdout)
    offline = json.loads(nextvec("routes", "--offline", "--json").stdout)
    for there, here in zip(online, offline, strict=True):
        for field in ("route", "model", "parameters", "space", "sha256", "trained_on"):
            assert there[field] == here[field]


def test_the_stages_one_at_a_time_make_text_of_text(system, tmp_path):
    texts, vectors, predicted, snapped = (
        tmp_path / name for name in ("texts.txt", "v.npy", "p.npy", "s.npy")
    )
    texts.write_text(SENTENCES)

    def run(stage, *arguments):
        result = nextvec(*arguments, "--address", system.address(stage), "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    encoded = run("encoder", "encode", texts, "--out", vectors)
    assert encoded["shape"] == [6, 768]
    run("lvm", "predict", vectors, "--route", "gru", "--out", predicted)
    assert np.load(predicted).shape == (2, 768)
    report = run("snap", "snap", predicted, "--context", vectors, "--out", snapped)
    assert len(report["items"][0]["neighbours"]) == 16
    decoded = run("decoder", "decode", snapped, "--steps", 1)
    assert [item["rung"] for item in decoded] == [1, 1]
    # A text from the cache comes without the hypotheses that led to it.
    assert all(item["cache_hit"] or [h["step"] for h in item["hypotheses"]] == [0, 1] for item in decoded)
    assert all(item["text"] for item in decoded)


def test_offline_gives_what_the_server_gives(system, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text(SENTENCES)
    served, offline = tmp_path / "served.npy", tmp_path / "offline.npy"
    nextvec("encode", texts, "--out", served, "--address", system.address("encoder"))
    result = nextvec("encode", texts, "--out", offline)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(offline), np.load(served), atol=1e-5)
    assert (tmp_path / "offline.npy.json").read_text() == (tmp_path / "served.npy.json").read_text()


def test_vectors_of_another_space_are_refused_with_both_named(system, tmp_path):
    vectors = tmp_path / "v.npy"
    np.save(vectors, np.ones((5, 768), np.float32))
    (tmp_path / "v.npy.json").write_text('{"space": "other-1"}')
    result = nextvec("predict", vectors, "--out", tmp_path / "p.npy", "--address", system.address("lvm"))
    assert result.returncode == 4
    assert "other-1" in result.stderr
    assert "mini-" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_said_and_nothing_is_started():
    base = Layout.at(None, None).routes["amn"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", base))
        listener.listen()
        result = nextvec("up", "--port-base", base)
    assert result.returncode == 2
    assert f"port {base}" in result.stderr
    assert "is in use" in result.stderr


def test_the_demonstration_answers_on_six_ports_and_then_from_the_cache():
    result = nextvec("demo", "--json")
    assert result.returncode == 0, result.stderr
    first, second = json.loads(result.stdout)["passes"]
    assert [answer["route"] for answer in first] == [route.name for route in ROUTES]
    assert all(answer["response"]["chunks"][0]["cache_hit"] for answer in second)


def test_the_doctor_finds_all_well():
    result = nextvec("doctor", "--json")
    problems = [finding for finding in json.loads(result.stdout)["findings"] if not finding["ok"]]
    assert [finding for finding in problems if finding["check"] != "ports"] == []


@pytest.mark.parametrize("command", ["predict", "snap"])
def test_a_file_that_holds_no_vectors_is_refused(command, tmp_path):
    path = tmp_path / "v.npy"
    path.write_bytes(b"nothing of the kind")
    result = nextvec(command, path, "--out", tmp_path / "out.npy")
    assert result.returncode == 3
    assert "is not a .npy file" in result.stderr.replace("\n", " ")
