"""Checkpoints of the original: in its exact format in, or refused by name."""

import json
import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from nextvec import weights
from nextvec.errors import NotFound
from services.lvm import checkpoint
from services.lvm.models import amn
from services.lvm.originals import UNPROVEN, Provenance, import_original
from services.lvm.registry import ModelError, Source
from tests.services.lvm.toys import SPACE, toy_model

TOLD = Provenance((Source("an encyclopedia", "CC-BY-SA-4.0", 7, 90),), ("none known",), windows=50)

# The sizes of tests/services/lvm/toys.py under the original's names.
CONFIGS = {
    "amn": {"input_dim": 768, "d_model": 8, "hidden_dim": 8},
    "gru": {"input_dim": 768, "d_model": 8, "num_layers": 2, "dropout": 0.0},
    "lstm": {"input_dim": 768, "hidden_dim": 8, "num_layers": 2, "dropout": 0.2},
    "transformer": {"input_dim": 768, "d_model": 8, "nhead": 2, "num_layers": 2, "dropout": 0.1},
}


def toy(architecture):
    """A model as the original would have it, whose feed-forward width always is four times the width."""
    if architecture != "transformer":
        return toy_model(architecture)
    torch.manual_seed(1)
    sizes = {"width": 8, "heads": 2, "feed_forward": 32, "layers": 2}
    return checkpoint.build("transformer", sizes).eval()


def positions(length=100, width=8):
    table = torch.zeros(length, width)
    position = torch.arange(length, dtype=torch.float)[:, None]
    rates = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table[:, 0::2], table[:, 1::2] = torch.sin(position * rates), torch.cos(position * rates)
    return table[None]


def content(architecture, model):
    """What the original's training saves."""
    state = model.state_dict()
    if architecture == "transformer":
        state["pos_encoder.pe"] = positions()
    return {
        "epoch": 20,
        "model_type": architecture,
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 5e-4}]},
        "val_loss": 0.0009,
        "val_cosine": np.float64(0.5605),
        "model_config": CONFIGS[architecture],
        "args": {
            "model_type": architecture,
            "epochs": 20,
            "lr": 0.0005,
            "lambda_mse": 1.0,
            "lambda_info": 0.0,
        },
    }


@pytest.fixture
def file(tmp_path):
    """`file(**changes)` writes an AMN checkpoint, changed."""

    def write(architecture="amn", **changes):
        path = tmp_path / "best_model.pt"
        torch.save({**content(architecture, toy(architecture)), **changes}, path)
        return path

    return write


def take(path, tmp_path, architecture="amn", told=TOLD, **options):
    return import_original(
        path, architecture, told, space=SPACE, models=tmp_path / "models", stem=architecture, **options
    )


def cosines(a, b):
    return np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_an_imported_model_predicts_what_the_original_does(file, tmp_path, contexts, architecture):
    folder = take(file(architecture), tmp_path, architecture)
    model, card = checkpoint.load(folder, SPACE)
    original = checkpoint.predict(toy(architecture), contexts)
    assert cosines(original, checkpoint.predict(model, contexts)).min() > 0.999  # 8 bits per weight
    assert folder.name.startswith(f"{architecture}_2")
    assert card.architecture == architecture
    assert card.metrics["cosine_to_checkpoint"] > 0.999


def test_figures_of_the_checkpoint_are_marked_as_its_claims(file, tmp_path):
    path = file()
    _, card = checkpoint.load(take(path, tmp_path))
    assert card.metrics["claimed_val_cosine"] == 0.5605
    assert card.metrics["claimed_val_loss"] == 0.0009
    assert set(card.metrics) == {"claimed_val_cosine", "claimed_val_loss", "cosine_to_checkpoint"}
    assert card.config["args"]["lr"] == 0.0005
    assert card.config["epoch"] == 20
    assert card.config["imported_sha256"] == weights.sha256(path)
    assert card.trained_on == TOLD.trained_on
    assert card.windows == 50


@pytest.mark.parametrize(
    "history",
    [[{"val_cosine": 0.1}, {"val_cosine": 0.4}], {"val_cosine": [0.1, 0.4]}],
    ids=["by epoch", "by figure"],
)
def test_a_history_gives_the_claims_of_its_last_epoch(tmp_path, history):
    path = tmp_path / "best_model.pt"
    made = content("amn", toy("amn"))
    del made["val_cosine"]
    torch.save({**made, "history": history}, path)
    _, card = checkpoint.load(take(path, tmp_path))
    assert card.metrics["claimed_val_cosine"] == 0.4


def test_production_sizes_are_assumed_where_the_checkpoint_names_none(tmp_path):
    path = tmp_path / "best_model.pt"
    state = checkpoint.build("amn").state_dict()
    torch.save({"model_state_dict": state, "val_cosine": 0.5, "epoch": 3}, path)
    _, card = checkpoint.load(take(path, tmp_path))
    assert card.parameters == 1_510_912


class Code:
    """Makes a folder when it is unpickled by whoever trusts it."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_file_that_would_run_code_is_refused_and_does_not(file, tmp_path):
    with pytest.raises(ModelError, match="nothing else is unpickled"):
        take(file(note=Code(tmp_path / "made")), tmp_path)
    path = tmp_path / "plain.pt"
    path.write_bytes(pickle.dumps({"model_state_dict": Code(tmp_path / "made")}, protocol=2))
    with pytest.raises(ModelError, match="nothing else is unpickled"):
        take(path, tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("data", [b"", b"nothing", b"PK\x03\x04nothing"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "bad.pt").write_bytes(data)
    with pytest.raises(ModelError, match="is not a checkpoint"):
        take(tmp_path / "bad.pt", tmp_path)


@pytest.mark.parametrize("saved", [[1, 2], {"weights": 1}, {"model_state_dict": 3}])
def test_a_file_without_a_state_is_refused(tmp_path, saved):
    torch.save(saved, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="holds no 'model_state_dict'"):
        take(tmp_path / "bad.pt", tmp_path)


def test_a_checkpoint_of_another_architecture_is_refused_with_both_named(file, tmp_path):
    with pytest.raises(ModelError, match="records model_type 'gru', asked for is 'amn'"):
        take(file("gru"), tmp_path, "amn")
    with pytest.raises(ModelError, match="records model_type 'lstm'"):
        take(file(model_type=None, args={"model_type": "lstm"}), tmp_path)


def test_an_architecture_that_does_not_exist_is_refused_with_the_known_ones(file, tmp_path):
    with pytest.raises(NotFound, match="'mamba'; have amn, gru, lstm, transformer"):
        take(file(), tmp_path, "mamba")


def test_weights_that_do_not_load_strictly_are_refused(file, tmp_path):
    state = toy("amn").state_dict()
    state.pop("query_encoder.bias")
    with pytest.raises(ModelError, match=r"does not fit.*query_encoder\.bias"):
        take(file(model_state_dict=state), tmp_path)
    with pytest.raises(ModelError, match="does not fit"):
        take(file(model_config={**CONFIGS["amn"], "hidden_dim": 16}), tmp_path)


def test_hyper_parameters_that_are_not_known_are_refused(file, tmp_path):
    with pytest.raises(ModelError, match="hyper-parameter memory_slots=9"):
        take(file(model_config={**CONFIGS["amn"], "memory_slots": 9}), tmp_path)


def test_other_position_encodings_are_refused(file, tmp_path):
    state = content("transformer", toy("transformer"))["model_state_dict"]
    state["pos_encoder.pe"] = state["pos_encoder.pe"] + 0.1
    with pytest.raises(ModelError, match="other position encodings"):
        take(file("transformer", model_state_dict=state), tmp_path, "transformer")


def test_a_probe_that_is_reproduced_lets_the_model_in(file, tmp_path, contexts):
    expected = checkpoint.predict(toy("amn"), contexts)
    directions = expected / np.linalg.norm(expected, axis=1, keepdims=True)  # as the original returns them
    weights.save(tmp_path / "probe.safetensors", {"context": contexts, "expected": directions}, "float32")
    _, card = checkpoint.load(take(file(), tmp_path, probe=tmp_path / "probe.safetensors"))
    assert card.known_issues == TOLD.known_issues
    inside = {
        name: torch.from_numpy(found) for name, found in (("context", contexts), ("expected", expected))
    }
    _, card = checkpoint.load(take(file("amn", golden_probe=inside), tmp_path / "inside"))
    assert card.known_issues == TOLD.known_issues


@pytest.mark.parametrize(
    ("told", "kept"), [(("none known",), ()), (("split by window",), ("split by window",))]
)
def test_a_model_that_no_probe_confirms_has_that_among_its_known_issues(file, tmp_path, told, kept):
    _, card = checkpoint.load(take(file(), tmp_path, told=replace(TOLD, known_issues=told)))
    assert card.known_issues == (*kept, UNPROVEN)


def test_a_missing_probe_does_not_stand_in_for_what_must_be_told(file, tmp_path):
    with pytest.raises(ModelError, match="what is wrong with it"):
        take(file(), tmp_path, told=replace(TOLD, known_issues=()))


def test_a_forward_pass_other_than_the_one_trained_with_is_caught_by_a_probe(
    file, tmp_path, contexts, monkeypatch
):
    """The fault of the original: two classes with the same names and shapes."""
    expected = checkpoint.predict(toy("amn"), contexts)
    path = file(golden_probe={"context": torch.from_numpy(contexts), "expected": torch.from_numpy(expected)})

    class Other(amn.Model):
        def forward(self, context):
            mixture = context.mean(1)
            return self.residual_net(torch.cat((mixture, mixture), 1))

    monkeypatch.setattr(amn, "Model", Other)
    with pytest.raises(ModelError, match="does not reproduce the probe in the checkpoint"):
        take(path, tmp_path)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("expected", [np.ones((2, 768), np.float32), None])
def test_a_probe_that_fits_nothing_is_refused(file, tmp_path, contexts, expected):
    arrays = {"context": contexts} | ({} if expected is None else {"expected": expected})
    weights.save(tmp_path / "probe.safetensors", arrays, "float32")
    with pytest.raises(ModelError, match="the probe in"):
        take(file(), tmp_path, probe=tmp_path / "probe.safetensors")


def test_an_import_without_provenance_is_refused(file, tmp_path):
    with pytest.raises(ModelError, match=r"what it was trained on.*what is wrong with it"):
        take(file(), tmp_path, told=Provenance((), ()))
    assert not (tmp_path / "models").exists()


def test_a_checkpoint_that_claims_no_figure_needs_one_to_be_given(tmp_path):
    path = tmp_path / "best_model.pt"
    torch.save({"model_state_dict": toy("amn").state_dict(), "model_config": CONFIGS["amn"]}, path)
    with pytest.raises(ModelError, match="how good it is"):
        take(path, tmp_path)
    record = {
        "trained_on": [{"source": "s", "licence": "l", "documents": 1, "chunks": 2}],
        "known_issues": ["one"],
        "metrics": {"val_cosine": 0.5},
    }
    (tmp_path / "told.json").write_text(json.dumps(record))
    _, card = checkpoint.load(take(path, tmp_path, told=Provenance.read(tmp_path / "told.json")))
    assert card.metrics["claimed_val_cosine"] == 0.5


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"trained_on": [{"source": 1}]}', '{"trained_on": [], "x": 1}']
)
def test_provenance_that_cannot_be_read_is_refused_with_what_it_must_be(tmp_path, text):
    (tmp_path / "told.json").write_text(text)
    with pytest.raises(ModelError, match=r'must be \{"trained_on"'):
        Provenance.read(tmp_path / "told.json")
