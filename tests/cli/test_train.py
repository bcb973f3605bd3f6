"""`nextvec train lvm`: from sequences to a model in the registry, killed and resumed, refused and allowed."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from nextvec import weights
from nextvec.cli.layout import artifacts_folder
from nextvec.family import Family
from nextvec.weights import WeightsError
from services.decoder.checkpoint import Checkpoint
from tests.cli.toy_corpus import write_corpus


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def artifacts(tmp_path):
    return artifacts_in(tmp_path)


def artifacts_in(place):
    """A folder of artifacts with the real families and no model."""
    folder = place / "artifacts"
    folder.mkdir(parents=True)
    (folder / "families").symlink_to(artifacts_folder() / "families")
    return folder


def arguments(corpus, artifacts, run, *more):
    places = ("--corpus", corpus, "--artifacts", artifacts, "--run", run)
    always = ("--threads", "1", "--device", "cpu", "--known-issue", "A toy.")
    return ["train", "lvm", "amn", *places, *always, *more]


def checkpoint_in(run):
    return torch.load(run / "checkpoint.pt", weights_only=True)


def test_a_training_that_is_killed_ends_as_one_that_is_not(corpus, nextvec, tmp_path):
    more = ("--epochs", 2, "--allow-non-sequential", "--json")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = arguments(corpus, artifacts_in(killed), killed, "--save-every", 0, *more)
    command = [sys.executable, "-m", "nextvec.cli", *map(str, command)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = checkpoint_in(killed)["step"]
    for run in (killed, whole):
        artifacts = killed / "artifacts" if run == killed else artifacts_in(whole)
        result = nextvec(*arguments(corpus, artifacts, run, *more))
        assert result.exit_code == 0, result.output
    a, b = checkpoint_in(killed), checkpoint_in(whole)
    assert 0 < stopped < a["step"] == b["step"]
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])


def test_data_without_order_is_refused_or_trained_on_with_a_remark_in_the_card(
    corpus, artifacts, nextvec, tmp_path
):
    refused = nextvec(*arguments(corpus, artifacts, tmp_path / "run", "--epochs", 0.1))
    assert refused.exit_code == 4
    assert "not sequential text" in refused.stderr
    more = ("--epochs", 0.1, "--allow-non-sequential", "--json")
    allowed = nextvec(*arguments(corpus, artifacts, tmp_path / "run", *more))
    assert allowed.exit_code == 0, allowed.output
    card = json.loads((artifacts / json.loads(allowed.stdout)["folder"] / "model.json").read_text())
    assert card["known_issues"][0] == "A toy."
    assert card["known_issues"][1].startswith("Trained on data that is not sequential text")
    assert card["config"]["sequential_check"] == "FAIL"
    assert card["trained_on"][0]["source"] == "toys"


def test_a_file_of_windows_trains_as_the_corpus_does(corpus, nextvec, tmp_path):
    windows = tmp_path / "windows.npz"
    assert nextvec("sequences", "build", "--corpus", corpus, "--out", windows).exit_code == 0
    for place, run in ((corpus, "a"), (windows, "b")):
        more = ("--epochs", 0.2, "--allow-non-sequential", "--json")
        result = nextvec(*arguments(place, artifacts_in(tmp_path / run), tmp_path / run, *more))
        assert result.exit_code == 0, result.output
    a, b = (checkpoint_in(tmp_path / run)["model"] for run in "ab")
    for name in a:
        torch.testing.assert_close(a[name], b[name])


@pytest.mark.parametrize(("mse", "infonce"), [(0.05, 1.0), (1.0, 0.05)])
def test_infonce_that_would_dominate_is_refused_with_the_ratio(
    corpus, artifacts, nextvec, tmp_path, mse, infonce
):
    more = ("--mse", mse, "--infonce", infonce, "--allow-non-sequential")
    result = nextvec(*arguments(corpus, artifacts, tmp_path / "run", *more))
    assert result.exit_code == 3
    assert f"InfoNCE of weight {infonce:g} has" in result.stderr
    assert "times the gradient" in result.stderr
    assert not (artifacts / "lvm").exists()


def test_a_balanced_training_says_so_in_the_card(corpus, artifacts, nextvec, tmp_path):
    more = ("--epochs", 0.2, "--infonce", 0.5, "--balance", "--allow-non-sequential", "--promote", "--json")
    result = nextvec(*arguments(corpus, artifacts, tmp_path / "run", *more))
    assert result.exit_code == 0, result.output
    card = json.loads((artifacts / "lvm" / "models" / "amn_v0" / "model.json").read_text())
    assert (card["config"]["infonce"], card["config"]["balance"]) == (0.5, True)


@pytest.mark.parametrize("split", ["all", "validation"])
def test_validating_on_the_training_data_in_another_form_is_refused(
    corpus, artifacts, nextvec, tmp_path, split
):
    windows = tmp_path / "windows.npz"
    built = nextvec("sequences", "build", "--corpus", corpus, "--out", windows, "--split", split)
    assert built.exit_code == 0, built.output
    result = nextvec(*arguments(corpus, artifacts, tmp_path / "run", "--validation", windows))
    assert result.exit_code == 3
    count = f"{len(np.load(windows)['positions']):,}"
    assert f"{count} of {count} windows of {windows} are in the training data" in result.stderr
    assert "validate on other documents" in result.stderr


def test_validating_on_another_split_is_allowed(corpus, artifacts, nextvec, tmp_path):
    train, validation = tmp_path / "train.npz", tmp_path / "validation.npz"
    for windows in (train, validation):
        nextvec("sequences", "build", "--corpus", corpus, "--out", windows, "--split", windows.stem)
    more = ("--validation", validation, "--epochs", 0.2, "--allow-non-sequential")
    result = nextvec(*arguments(train, artifacts, tmp_path / "run", *more))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", ["inverter", "corrector"])
def test_a_part_of_a_family_goes_on_from_another_and_its_card_says_so(kind, corpus, nextvec, tmp_path):
    artifacts = tmp_path / "artifacts"
    shutil.copytree(artifacts_folder() / "families" / "mini", artifacts / "families" / "mini")
    part = artifacts / "families" / "mini" / kind
    before = weights.load(part / "model.safetensors")
    earlier = json.loads((part / "card.json").read_text())
    places = ("--corpus", corpus, "--artifacts", artifacts, "--run", tmp_path / "run", "--start-from", part)
    command = ("train", kind, *places, "--threads", 1, "--device", "cpu", "--json")
    for steps in (1, 2):  # the second call goes on with the first one's run
        result = nextvec(*command, "--steps", steps)
        assert result.exit_code == 0, result.output
    after = weights.load(part / "model.safetensors")
    card = json.loads((part / "card.json").read_text())
    assert card["started_from"] == earlier
    assert card["steps"] == 2
    for name, array in before.items():
        assert np.abs(after[name] - array).mean() < 0.1 * np.abs(array).mean() + 1e-3, name
    assert any((after[name] != array).any() for name, array in before.items())


@pytest.mark.parametrize("kind", ["inverter", "corrector"])
def test_a_run_is_not_gone_on_with_on_other_data_or_from_another_start(kind, nextvec, tmp_path):
    artifacts = tmp_path / "artifacts"
    shutil.copytree(artifacts_folder() / "families" / "mini", artifacts / "families" / "mini")
    part = artifacts / "families" / "mini" / kind
    places = ("--artifacts", artifacts, "--run", tmp_path / "run", "--threads", 1, "--device", "cpu")
    command = ("train", kind, *places, "--steps", 1, "--corpus")
    corpus, other = (write_corpus(tmp_path / f"corpus {n}", documents=n) for n in (8, 7))
    assert nextvec(*command, corpus).exit_code == 0
    exported = (part / "card.json").read_bytes()
    preset = tmp_path / "preset.toml"
    preset.write_text("limit = 100\nschedule = {rate = 0.01}\n")
    for more, reason in (
        ((other,), "data_sha256"),
        ((corpus, "--start-from", part), "start_sha256 None, now"),
        ((corpus, "--preset", preset), ", now 100"),
    ):
        refused = nextvec(*command, *more)
        assert refused.exit_code == 4
        assert reason in refused.stderr
        assert "give another run folder" in refused.stderr
    assert (part / "card.json").read_bytes() == exported
    assert not (tmp_path / "run" / "started_from.json").exists()


def test_an_inverter_with_another_tokenizer_is_no_start(corpus, artifacts, nextvec, tmp_path):
    places = ("--corpus", corpus, "--artifacts", artifacts, "--run", tmp_path / "run")
    start = tmp_path / "start"
    shutil.copytree(artifacts / "families" / "mini" / "inverter", start)
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "tokenizer_sha256": "another"}))
    result = nextvec("train", "inverter", *places, "--start-from", start, "--steps", 1, "--device", "cpu")
    assert result.exit_code == 4
    assert "does not have the tokenizer" in result.stderr


def test_a_corrector_is_not_trained_on_the_texts_of_two_inverters(corpus, nextvec, tmp_path):
    artifacts = tmp_path / "artifacts"
    shutil.copytree(artifacts_folder() / "families" / "mini", artifacts / "families" / "mini")
    places = ("--corpus", corpus, "--artifacts", artifacts, "--run", tmp_path / "run")
    command = ("train", "corrector", *places, "--steps", 1, "--threads", 1, "--device", "cpu")
    assert nextvec(*command).exit_code == 0
    file = artifacts / "families" / "mini" / "inverter" / "model.safetensors"
    weights.save(file, weights.load(file), "float16")
    result = nextvec(*command)
    assert result.exit_code == 4
    assert "give another run folder" in result.stderr


def test_the_tokenizer_of_a_trained_inverter_is_replaced_only_on_request(corpus, nextvec, tmp_path):
    artifacts = tmp_path / "artifacts"
    shutil.copytree(artifacts_folder() / "families" / "mini", artifacts / "families" / "mini")
    command = ("train", "tokenizer", "--corpus", corpus, "--vocabulary", 400, "--artifacts", artifacts)
    refused = nextvec(*command)
    assert refused.exit_code == 4
    assert "--replace" in refused.stderr
    assert nextvec(*command, "--replace").exit_code == 0
    with pytest.raises(WeightsError, match="another tokenizer"):
        Checkpoint.load("inverter", Family.open("mini", artifacts / "families"))


def test_an_unknown_route_lists_the_known_ones_in_one_line(corpus, artifacts, nextvec, tmp_path):
    command = arguments(corpus, artifacts, tmp_path / "run")
    command[2] = "os"
    result = nextvec(*command)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: no preset 'lvm-os'; have ")


def test_a_model_without_provenance_is_refused_before_it_is_trained(corpus, artifacts, nextvec, tmp_path):
    given = arguments(corpus, artifacts, tmp_path / "run", "--epochs", 0.1)
    silent = given[: given.index("--known-issue")]
    refused = nextvec(*silent)
    assert refused.exit_code == 4
    assert "what is wrong with it (known_issues; 'none known' where nothing is): give --known-issue" in (
        refused.stderr
    )
    bare = write_corpus(tmp_path / "bare", licence="")
    refused = nextvec(*arguments(bare, artifacts, tmp_path / "run", "--epochs", 0.1))
    assert refused.exit_code == 4
    assert "the licence of its training data" in refused.stderr
    assert "build the corpus with --licence" in refused.stderr
    assert not (tmp_path / "run").exists()
