"""`nextvec corpus`: a folder of text becomes chunks and vectors."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from typer.testing import CliRunner

from nextvec.cli import app

TEXT = (
    "The ferry leaves the harbour at seven.\nIt carries post, bread and a handful of people.\n\n"
    "By noon it has reached the outer islands. The return journey takes the whole afternoon."
)


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["corpus", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_folder_of_text_becomes_chunks_and_as_many_vectors(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "ferry.txt").write_text(TEXT)
    out = tmp_path / "corpus"

    built = run("build", str(tmp_path / "texts"), "--out", str(out), "--licence", "own work")
    assert (built["documents"], built["chunks"], built["parts"]) == (1, 4, 1)
    rows = pq.read_table(out / "part-00000.parquet").to_pylist()
    assert len(rows) == 4
    assert {row["licence"] for row in rows} == {"own work"}
    assert run("encode", str(out))["chunks"] == 4
    assert np.load(out / "part-00000.npy").shape == (4, 768)


def test_no_share_of_the_documents_gives_an_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "ferry.txt").write_text(TEXT)
    assert (
        run("build", str(tmp_path / "ferry.txt"), "--out", str(tmp_path / "c"), "--share", "0")["documents"]
        == 0
    )


def test_a_file_that_is_no_document_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("not json\n")
    result = CliRunner().invoke(
        app, ["corpus", "build", str(tmp_path / "bad.jsonl"), "--out", str(tmp_path / "c")]
    )
    assert result.exit_code == 3
    assert "bad.jsonl:1" in result.stderr


def test_documents_without_a_licence_are_said_to_be_of_no_use_for_training(tmp_path: Path) -> None:
    (tmp_path / "ferry.txt").write_text(TEXT)
    arguments = ["corpus", "build", str(tmp_path / "ferry.txt"), "--out"]
    silent = CliRunner().invoke(app, [*arguments, str(tmp_path / "a")])
    assert "1 documents state no licence" in silent.stderr
    stated = CliRunner().invoke(app, [*arguments, str(tmp_path / "b"), "--licence", "own work"])
    assert "no licence" not in stated.stderr
