import json

from typer.testing import CliRunner

from nextvec.cli import app
from nextvec.cli.output import err


def run(*arguments):
    return CliRunner().invoke(app, ["capacity", *arguments])


def test_the_default_table_answers_and_says_what_it_was_measured_on():
    result = run("--rps", "2", "--hit-rate", "0.3", "--p95", "3", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {share["process"] for share in answer["shares"]} == {
        "gateway",
        "encoder",
        "lvm",
        "snap",
        "decoder",
    }
    assert answer["simulated"] <= 3
    assert answer["measured"]["processor"]
    assert int(answer["measured"]["requests"]) >= 20


def test_in_a_terminal_it_says_what_it_is_doing_and_not_on_stdout(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(err, "_force_terminal", True)
    monkeypatch.setattr(err, "is_interactive", True)
    result = run("--rps", "2", "--hit-rate", "0.3", "--p95", "3", "--json")
    assert "simulating systems of several sizes" in result.stderr
    assert json.loads(result.stdout)["simulated"] <= 3


def test_a_level_that_no_replicas_meet_is_wrong_input(tmp_path):
    result = run("--p95", "0.01")
    assert result.exit_code == 3
    assert "--measure" in result.stderr


def test_a_file_without_service_times_is_wrong_input(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text("[]")
    result = run("--service-times", str(file))
    assert result.exit_code == 3
    assert "has no service times" in result.stderr
