"""Model folders: saved and loaded equals the original, and whatever is not the saved model is refused."""

import json

import numpy as np
import pytest
import torch

from nextvec import weights
from nextvec.errors import WrongSpace
from services.lvm import checkpoint
from services.lvm.models import amn
from services.lvm.registry import ModelCard, ModelError
from tests.services.lvm.toys import SIZES, SPACE, save_toy, toy_model


@pytest.fixture
def folder(tmp_path):
    return save_toy(tmp_path, "amn")


def edit_card(folder, **changes):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **changes}))


@pytest.mark.parametrize("architecture", SIZES)
def test_a_loaded_model_predicts_what_the_saved_one_does(tmp_path, contexts, architecture):
    model = toy_model(architecture)
    original = checkpoint.predict(model, contexts)
    loaded, card = checkpoint.load(save_toy(tmp_path, architecture), SPACE)
    found = checkpoint.predict(loaded, contexts)
    cosines = np.sum(original * found, 1) / np.linalg.norm(original, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999  # 8 bits per weight
    assert card.parameters == checkpoint.parameter_count(model)
    assert card.architecture == architecture


def test_the_card_names_everything_a_model_must_carry(folder):
    card = ModelCard.read(folder)
    assert card.name == folder.name
    assert card.id == f"{folder.name}@{weights.sha256(folder / 'model.safetensors')[:12]}"
    assert card.hyperparameters == {"dimensions": 768, "scale": 1.0, "attention": 8, "hidden": 8}
    assert card.trained_on[0].licence == "CC0-1.0"
    assert card.space == SPACE


def test_what_is_measured_is_measured_on_the_weights_as_stored(tmp_path, contexts):
    seen = {}

    def measure(model):
        seen["prediction"] = checkpoint.predict(model, contexts)
        return {"cosine": 0.5}

    card = ModelCard.read(save_toy(tmp_path, "amn"))
    folder = checkpoint.save(tmp_path, "measured", toy_model("amn"), card, measure)
    model, card = checkpoint.load(folder)
    assert card.metrics == {"cosine": 0.5}
    np.testing.assert_allclose(checkpoint.predict(model, contexts), seen["prediction"], atol=1e-6)


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, folder):
    card = ModelCard.read(folder)
    with pytest.raises(ZeroDivisionError):
        checkpoint.save(tmp_path, "broken", toy_model("amn"), card, lambda model: {"cosine": 1 / 0})
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_another_forward_with_the_same_keys_and_shapes_is_caught_by_the_probe(folder, monkeypatch):
    """The fault of the original: trained with one class, served with another, and loaded without a word."""

    class Other(amn.Model):
        def forward(self, context):
            mixture = context.mean(1)
            return self.residual_net(torch.cat((mixture, mixture), 1))

    monkeypatch.setattr(amn, "Model", Other)
    with pytest.raises(ModelError, match="does not reproduce its golden probe"):
        checkpoint.load(folder)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_even_another_scale_of_the_attention_is_caught_by_the_probe(tmp_path, monkeypatch, scale):
    model = toy_model("amn")
    for encoder in (model.context_encoder, model.query_encoder):
        encoder.weight.data *= 10  # a trained network's attention has preferences, a new one's has none
    folder = checkpoint.save(tmp_path, "sharp", model, ModelCard.read(save_toy(tmp_path, "amn")))
    original = amn.Model.__init__

    def rescaled(self, hyperparameters):
        original(self, hyperparameters)
        self.temperature = scale

    monkeypatch.setattr(amn.Model, "__init__", rescaled)
    with pytest.raises(ModelError, match="golden probe"):
        checkpoint.load(folder)


def test_a_card_of_another_architecture_is_refused(folder):
    edit_card(folder, architecture="lstm", hyperparameters={"width": 8})
    with pytest.raises(ModelError, match="does not fit the architecture"):
        checkpoint.load(folder)


def test_a_model_of_another_space_is_refused_with_both_named(folder):
    with pytest.raises(WrongSpace, match=rf"'{SPACE}'.*'mini-1'"):
        checkpoint.load(folder, "mini-1")


def test_changed_weights_are_refused(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="SHA-256"):
        checkpoint.load(folder)


def test_truncated_weights_are_refused_even_with_their_own_digest(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    edit_card(folder, sha256=weights.sha256(path))
    with pytest.raises(ModelError, match="corrupt"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "probe.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        checkpoint.load(folder)


def test_a_probe_without_its_arrays_is_refused(folder):
    weights.save(folder / "probe.safetensors", {"context": np.ones((1, 5, 768), np.float32)}, "float32")
    with pytest.raises(ModelError, match="incomplete"):
        checkpoint.load(folder)


def test_a_wrong_parameter_count_is_refused(folder):
    edit_card(folder, parameters=7)
    with pytest.raises(ModelError, match="its card says 7"):
        checkpoint.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trained_on": [{"source": 1}]}'])
def test_an_unreadable_card_is_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match="not a model card"):
        checkpoint.load(folder)


def test_a_model_that_does_not_say_what_it_was_trained_on_is_refused(folder):
    edit_card(folder, trained_on=[])
    with pytest.raises(ModelError, match="trained on"):
        checkpoint.load(folder)
