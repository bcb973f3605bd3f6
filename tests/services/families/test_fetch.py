"""Public parts into a family's folder: local copies in the hub's format, and no network."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch

from nextvec.family import Family, FamilyError
from services.decoder.checkpoint import Checkpoint
from services.families.embedder import Embedder
from services.families.fetch import fetch
from tests.services.decoder.toys import toy_family

HUB = {"encoder": "sentence-transformers/gtr-t5-base", "inverter": "jxm/a", "corrector": "jxm/b"}


@pytest.fixture
def copies(tmp_path):
    """Local copies of the three repositories, tiny, their weights pickled as the older public ones are."""
    from safetensors.torch import load_file

    source = toy_family(tmp_path / "source").folder
    for part in HUB:
        folder = source / part
        state = load_file(folder / "model.safetensors")
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        (folder / "README.md").write_text("a model")
        (folder / "2_Dense").mkdir()
    return {part: source / part for part in HUB}


@pytest.fixture
def family(tmp_path):
    """A family that has nothing but its record."""
    folder = tmp_path / "families" / "gtr"
    folder.mkdir(parents=True)
    record = {
        "name": "gtr",
        "dimensions": 768,
        "token_limit": 20,
        "encoder": {"architecture": "t5", "layers": [-1]},
        "hub": HUB,
    }
    (folder / "family.json").write_text(json.dumps(record))
    return Family.open(folder)


def test_local_copies_become_a_family_that_loads(family, copies):
    with pytest.raises(FamilyError, match="nextvec models fetch gtr"):
        _ = family.space
    assert [part for part, _ in fetch(family, copies)] == list(HUB)
    assert family.space.startswith("gtr-")
    embedder = Embedder.load(family)
    assert embedder.embed(embedder.token_ids(["Bees dance."])).shape == (1, 768)
    for kind in ("inverter", "corrector"):
        assert Checkpoint.load(kind, family).state


def test_pickled_weights_are_kept_as_safetensors_alone(family, copies):
    list(fetch(family, copies))
    assert {path.name for path in family.part("encoder").iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    found = torch.load(copies["inverter"] / "pytorch_model.bin", weights_only=True)  # the copy is untouched
    assert found


def test_sharded_pickles_are_put_together(family, copies):
    folder = copies["inverter"]
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    files = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, keys in files.items():
        torch.save({key: state[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in files.items() for key in keys}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    list(fetch(family, copies))
    assert Checkpoint.load("inverter", family).state


def test_what_is_there_is_left_alone_and_what_is_there_by_half_is_completed(family, copies):
    list(fetch(family, copies))
    kept = (family.part("encoder") / "model.safetensors").stat().st_mtime_ns
    (family.part("corrector") / "model.safetensors").unlink()  # its config.json stays
    list(fetch(family, copies))
    assert (family.part("encoder") / "model.safetensors").stat().st_mtime_ns == kept
    assert (family.part("corrector") / "model.safetensors").is_file()


def test_a_folder_that_is_no_copy_is_named(family, copies, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FamilyError, match=r"empty holds no config\.json, so it is no copy of jxm/a"):
        list(fetch(family, {**copies, "inverter": tmp_path / "empty"}))


def test_a_copy_without_weights_is_named(family, copies):
    (copies["inverter"] / "pytorch_model.bin").unlink()
    with pytest.raises(FamilyError, match="neither safetensors nor pytorch_model"):
        list(fetch(family, copies))


class Code:
    """Makes a folder when it is unpickled by whoever trusts it."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_would_run_code_is_refused_and_does_not(family, copies, tmp_path):
    data = pickle.dumps({"weight": Code(tmp_path / "made")}, protocol=2)
    (copies["encoder"] / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(FamilyError, match="is no file of plain tensors"):
        list(fetch(family, copies))
    assert not (tmp_path / "made").exists()


def test_a_part_that_the_family_does_not_have_public_is_refused(family, copies):
    with pytest.raises(FamilyError, match="no public bank; have encoder, inverter, corrector"):
        list(fetch(family, {"bank": copies["encoder"]}))


@pytest.fixture
def encoder_alone(tmp_path):
    """A family of its own making over a public encoder, as `mini` is."""
    family = toy_family(tmp_path / "own")
    record = json.loads((family.folder / "family.json").read_text())
    record["encoder"]["hub"] = "sentence-transformers/all-MiniLM-L6-v2"
    (family.folder / "family.json").write_text(json.dumps(record))
    copy = tmp_path / "copy"
    copy.mkdir()
    (family.part("encoder") / "model.safetensors").rename(copy / "model.safetensors")
    (copy / "config.json").write_text("{}")
    return Family.open(family.folder), copy


def test_a_public_encoders_weights_are_accepted_with_their_hash_alone(encoder_alone):
    family, copy = encoder_alone
    config = (family.part("encoder") / "config.json").read_text()
    assert [part for part, _ in fetch(family, {"encoder": copy})] == ["encoder"]
    Embedder.load(family)
    assert (family.part("encoder") / "config.json").read_text() == config  # the family's own


def test_a_public_encoders_weights_with_another_hash_are_refused(encoder_alone):
    family, copy = encoder_alone
    (copy / "model.safetensors").write_bytes(b"others")
    with pytest.raises(FamilyError, match=r"has SHA-256 .*, must have"):
        list(fetch(family, {"encoder": copy}))


def test_without_a_network_the_message_says_what_to_do(family):
    """In a process of its own: the hub's address is read when its client is imported."""
    code = (
        "import sys; from nextvec.family import Family; from services.families.fetch import fetch\n"
        "list(fetch(Family.open(sys.argv[1])))"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", code, str(family.folder)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "cannot fetch sentence-transformers/gtr-t5-base from the model hub" in found.stderr
    assert "connect to the network, or give a local copy" in found.stderr
    assert not (family.part("encoder") / "model.safetensors").exists()
