import gzip
import json

import pytest
from typer.testing import CliRunner

from nextvec.cli import app

SMALL = ("--limit", "4", "--chunks", "10", "--decoded", "2", "--requests", "1", "--route", "amn")


@pytest.fixture
def held_out(documents, tmp_path):
    """A file of documents as a corpus has them."""
    path = tmp_path / "held-out.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps({"doc_id": document.id, "chunks": document.chunks}) + "\n")
    return path


@pytest.fixture
def run(world, held_out):
    def call(*arguments):
        where = ("--documents", str(held_out), "--family", "toy", "--artifacts", str(world.root))
        return CliRunner().invoke(app, ["eval", *where, *SMALL, *arguments])

    return call


def test_the_command_writes_figures_as_json_and_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "figures.json"
    result = run("--json", str(target))
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text())["decode"]["real"]["5"]["cosine"]["value"] <= 1
    assert not (tmp_path / "docs").exists()


def test_a_folder_gets_page_json_and_pictures(run, tmp_path):
    assert run("--out", str(tmp_path / "results")).exit_code == 0
    found = {path.name for path in (tmp_path / "results").iterdir()}
    assert {"report.md", "report.json", "decoding.png", "prediction.png"} <= found


def test_a_missed_bar_fails_the_command_and_the_figures_are_written_still(run, tmp_path):
    bars = tmp_path / "bars.toml"
    bars.write_text("[[bars]]\nwhat = 'out of reach'\nfigures = ['decode.real.5.exact']\nabove = 1\n")
    result = run("--json", str(tmp_path / "figures.json"), "--bars", str(bars))
    assert result.exit_code == 1
    assert "out of reach" in result.output
    (verdict,) = json.loads((tmp_path / "figures.json").read_text())["bars"]
    assert verdict["passed"] is False


def test_an_unknown_route_is_named_with_the_known_ones(run, tmp_path):
    result = run("--json", str(tmp_path / "figures.json"), "--route", "os")
    assert result.exit_code == 5
    assert "unknown route 'os'" in result.output


def test_an_unreadable_file_of_documents_is_wrong_input(run, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    result = run("--json", str(tmp_path / "figures.json"), "--documents", str(broken))
    assert result.exit_code == 3
    assert "broken.jsonl:1" in result.output
