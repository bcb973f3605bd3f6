"""Registering: complete provenance and a reproduced probe, or nothing at all."""

import json
import shutil

import numpy as np
import pytest

from nextvec import weights
from services.lvm import checkpoint
from services.lvm.intake import register, require_provenance
from services.lvm.registry import ModelCard, ModelError
from tests.services.lvm.toys import SPACE, save_toy


@pytest.fixture
def elsewhere(tmp_path):
    """A complete model in a folder that is no registry."""
    return save_toy(tmp_path / "elsewhere", "gru")


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def edit_card(folder, **changes):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **changes}))


def test_a_registered_model_predicts_what_it_did_elsewhere(elsewhere, models, contexts):
    folder = register(elsewhere, models)
    assert folder == models / elsewhere.name
    there, _ = checkpoint.load(elsewhere)
    here, card = checkpoint.load(folder, SPACE)
    np.testing.assert_array_equal(checkpoint.predict(there, contexts), checkpoint.predict(here, contexts))
    assert card == ModelCard.read(elsewhere)


def test_only_the_files_of_a_model_are_taken(elsewhere, models):
    (elsewhere / "weights.pt").write_bytes(b"a pickle")
    folder = register(elsewhere, models)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "probe.safetensors",
        "model.json",
    }


INCOMPLETE = {
    "no source": (
        {"trained_on": [{"source": " ", "licence": "l", "documents": 1, "chunks": 1}]},
        "the source",
    ),
    "no licence": ({"trained_on": [{"source": "s", "licence": "", "documents": 1, "chunks": 1}]}, "licence"),
    "no counts": (
        {"trained_on": [{"source": "s", "licence": "l", "documents": 0, "chunks": None}]},
        "how many documents.*how many chunks",
    ),
    "no configuration": ({"config": {}}, "how it was trained"),
    "no metrics": ({"metrics": {}}, "how good it is"),
    "metrics that are none": ({"metrics": {"cosine": float("nan")}}, "how good it is"),
    "no word on known issues": ({"known_issues": []}, "'none known' where nothing is"),
    "blank known issues": ({"known_issues": ["  "]}, "known_issues"),
    "nothing at all": ({"config": {}, "metrics": {}, "known_issues": []}, "how it.*how good.*what is wrong"),
    "no training data": ({"trained_on": []}, "what the model was trained on"),
}


@pytest.mark.parametrize(("changes", "message"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_model_without_provenance_is_refused_with_all_that_is_missing(elsewhere, models, changes, message):
    edit_card(elsewhere, **changes)
    with pytest.raises(ModelError, match=message):
        register(elsewhere, models)
    assert not models.exists()


def test_issues_may_be_stated_as_none_known(elsewhere):
    card = ModelCard.read(elsewhere)
    assert card.known_issues == ("none known",)
    require_provenance(card)


def test_a_model_that_does_not_reproduce_its_probe_leaves_nothing_behind(elsewhere, models):
    probe = weights.load(elsewhere / "probe.safetensors")
    weights.save(elsewhere / "probe.safetensors", {**probe, "expected": -probe["expected"]}, "float32")
    with pytest.raises(ModelError, match="does not reproduce its golden probe"):
        register(elsewhere, models)
    assert list(models.iterdir()) == []


def test_a_missing_file_is_named(elsewhere, models):
    (elsewhere / "probe.safetensors").unlink()
    with pytest.raises(ModelError, match=r"probe\.safetensors is missing"):
        register(elsewhere, models)


def test_a_name_that_is_taken_is_refused(elsewhere, models):
    register(elsewhere, models)
    with pytest.raises(ModelError, match="is registered already"):
        register(elsewhere, models)


@pytest.mark.parametrize("name", ["", "gru", "../gru_20260101_000000", "amn_v0", ".gru_20260101_000000"])
def test_a_name_that_is_no_models_is_refused(elsewhere, models, name):
    edit_card(elsewhere, name=name)
    with pytest.raises(ModelError, match="must be a name and a timestamp"):
        register(elsewhere, models)


def test_the_folder_may_have_any_name(elsewhere, models, tmp_path):
    shutil.move(elsewhere, tmp_path / "download")
    assert register(tmp_path / "download", models).name == elsewhere.name
