"""From a folder of text to a served model by five commands, each killed on the way and called again."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from nextvec.cli.layout import artifacts_folder
from tests.e2e.running import COMMAND, PARAGRAPH, Running, nextvec

_SENTENCES = 8  # of a document; three more than a context, so that each has windows
_STRIDE = 4


@pytest.fixture
def documents(tmp_path):
    """Some 350 short documents, more than one part of a corpus holds."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for article in sorted((artifacts_folder() / "samples" / "articles").glob("*.txt")):
        _, body = article.read_text(encoding="utf-8").split("\n", 1)
        sentences = body.replace("\n", " ").replace(". ", ".\n").split("\n")
        for start in range(0, len(sentences) - _SENTENCES, _STRIDE):
            text = " ".join(sentences[start : start + _SENTENCES])
            (folder / f"{article.stem}-{start:03}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def artifacts(tmp_path):
    """A folder of artifacts with the real families and the shipped models, to which one will be added."""
    folder = tmp_path / "artifacts"
    (folder / "lvm" / "models").mkdir(parents=True)
    (folder / "families").symlink_to(artifacts_folder() / "families")
    for path in (artifacts_folder() / "lvm" / "models").glob("[!.]*"):
        copy = folder / "lvm" / "models" / path.name
        if path.is_dir():  # a model, or the link to one
            copy.symlink_to(path.readlink() if path.is_symlink() else path)
        else:
            shutil.copy(path, copy)
    return folder


def killed(begun, *arguments):
    """Starts a command and kills it as soon as there is a file that it has `begun` with, or it is done."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    give_up = time.monotonic() + 120
    while not begun.exists() and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def done(*arguments):
    result = nextvec(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_five_commands_each_killed_and_called_again_end_in_a_served_model(documents, artifacts, tmp_path):
    corpus, windows, run = tmp_path / "corpus", tmp_path / "windows.npz", tmp_path / "run"
    killed_by = -signal.SIGKILL
    build = ("corpus", "build", documents, "--out", corpus, "--licence", "CC0-1.0")
    assert killed(corpus / "part-00000.parquet", *build) == killed_by
    assert not (corpus / "corpus.json").exists()
    done(*build)
    encode = ("corpus", "encode", corpus)
    assert killed(corpus / "part-00000.npy", *encode) == killed_by
    assert not (corpus / "part-00001.npy").exists()
    done(*encode)
    sequences = ("sequences", "build", "--corpus", corpus, "--out", windows)
    # Some hundreds of windows are written in a moment; killed before that moment or behind it is the same.
    killed(windows.with_name("windows.npz.partial"), *sequences)
    done(*sequences)
    train = ("train", "lvm", "amn", "--corpus", windows, "--run", run, "--artifacts", artifacts, "--json")
    train += ("--epochs", 3, "--save-every", 0, "--threads", 1, "--device", "cpu", "--known-issue", "A test.")
    assert killed(run / "checkpoint.pt", *train) == killed_by
    name = json.loads(done(*train))["folder"].rsplit("/", 1)[-1]
    promote = ("models", "promote", name, "amn", "--artifacts", artifacts)
    # Promoting is the swap of one link: killed before it, everything is as it was.
    before = (artifacts / "lvm" / "models" / "amn_v0").readlink()
    assert killed(artifacts / "lvm" / "models" / name, *promote) == killed_by
    assert (artifacts / "lvm" / "models" / "amn_v0").readlink() == before
    done(*promote)
    with Running(tmp_path, "--artifacts", str(artifacts)) as running:
        with running.client("amn") as client:
            completion = client.complete(PARAGRAPH)
        assert completion.text
        assert completion.response.model_ids["lvm"].startswith(name)
