"""Training of latent vector models at toy size: presets, resuming, export."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from nextvec.routes import ROUTES
from services.lvm import checkpoint
from training.lvm import LvmPreset, export_lvm, train_lvm, validate
from training.objectives import Objective
from training.presets import FOLDER, PresetError

CPU = torch.device("cpu")
TINY = LvmPreset("lstm", {"width": 16}, epochs=12, batch=8, rate=1e-2)


def run(sequences, preset, folder, steps=None):
    return list(itertools.islice(train_lvm(sequences, preset, folder, CPU), steps))


def weights_in(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


@pytest.mark.parametrize("route", [route.name for route in ROUTES if route.has_lvm])
@pytest.mark.parametrize("hardware", [None, "cpu", "accelerator"])
def test_every_route_has_a_preset_that_loads_for_every_hardware(route, hardware):
    preset = LvmPreset.read(route, hardware)
    assert preset.architecture == route.removesuffix("-optimized")
    checkpoint.hyperparameters_of(preset.architecture, preset.hyperparameters)
    assert preset.schedule(300_000).steps > 0


@pytest.mark.parametrize("route", ["amn", "transformer", "gru", "lstm"])
def test_the_presets_without_hardware_are_the_originals_recipe(route):
    preset = LvmPreset.read(route)
    assert (preset.epochs, preset.batch, preset.rate, preset.clip) == (20, 32, 5e-4, 1)
    assert (preset.weight_decay, preset.final_rate, preset.warmup) == (0, 0, 0)
    given = checkpoint.hyperparameters_of(preset.architecture, preset.hyperparameters)
    assert given == checkpoint.hyperparameters_of(preset.architecture, {})


def test_a_routes_preset_overrides_the_hardwares_and_changes_override_both():
    assert LvmPreset.read("lstm", "cpu").rate == 1e-3
    assert LvmPreset.read("amn", "cpu").rate == 5e-4
    assert LvmPreset.read("amn", "cpu", rate=1e-4, minutes=3).rate == 1e-4


def test_the_optimized_route_rises_for_one_epoch_of_twenty_and_falls_to_a_floor():
    schedule = LvmPreset.read("transformer-optimized").schedule(32_000)
    assert schedule.steps == 20_000
    rates = [schedule.rate_at(step, schedule.progress(step, 0)) for step in (0, 500, 1000, 20_000)]
    assert rates[0] == 0
    assert rates[1] == pytest.approx(2.5e-4, rel=0.01)
    assert rates[2] == pytest.approx(5e-4, rel=0.01)
    assert rates[3] == pytest.approx(1e-6)


def test_every_preset_file_belongs_to_a_route_or_a_hardware():
    known = {route.name for route in ROUTES if route.has_lvm} | {"cpu", "accelerator"}
    assert {path.stem for path in FOLDER.glob("lvm-*.toml")} == {f"lvm-{name}" for name in known}


def test_unknown_routes_and_settings_are_refused_by_name():
    with pytest.raises(PresetError, match="no preset 'lvm-os'; have lvm-accelerator, lvm-amn"):
        LvmPreset.read("os")
    with pytest.raises(PresetError, match="no depth"):
        LvmPreset.read("amn", depth=3)


def test_the_loss_is_the_squared_distance_to_the_target_in_units_of_the_scale():
    class Double(torch.nn.Module):
        def forward(self, context):
            return 2 * context[:, -1]

    context, target = torch.randn(3, 5, 4), torch.randn(3, 4)
    loss = Objective(Double(), 4.0)(context, target)
    expected = sum(((context[i, -1] / 2 - target[i]) ** 2).sum() for i in range(3)) / 3
    torch.testing.assert_close(loss, expected)


def test_a_training_learns_what_the_baselines_cannot(sequences, tmp_path):
    progress = run(sequences, LvmPreset("lstm", {"width": 32}, epochs=60, batch=8, rate=1e-2), tmp_path)
    assert progress[-1].loss < 0.5 * progress[0].loss
    model = checkpoint.build("lstm", {"dimensions": 16, "width": 32})
    Objective(model, 1.0).load_state_dict(weights_in(tmp_path))
    metrics = validate(model.eval(), sequences)
    assert metrics["cosine"] > metrics["cosine_last_chunk"]
    assert metrics["cosine"] > metrics["cosine_context_mean"]
    assert metrics["validation_windows"] == len(sequences)


def test_the_number_of_steps_is_that_of_the_epochs(sequences, tmp_path):
    assert len(run(sequences, TINY, tmp_path)) == 12 * (len(sequences) // 8)


def test_a_training_that_was_killed_goes_on_where_it_was(sequences, tmp_path, monkeypatch):
    run(sequences, TINY, tmp_path / "whole")
    schedule = LvmPreset.schedule
    monkeypatch.setattr(LvmPreset, "schedule", lambda *args: replace(schedule(*args), save_every_s=0))
    first = run(sequences, TINY, tmp_path / "killed", steps=20)
    rest = run(sequences, TINY, tmp_path / "killed")
    assert rest[0].step == first[-1].step + 1
    for name, tensor in weights_in(tmp_path / "whole").items():
        torch.testing.assert_close(weights_in(tmp_path / "killed")[name], tensor)


def test_two_trainings_of_one_seed_are_equal_and_of_two_are_not(sequences, tmp_path):
    presets = {"a": 1, "b": 1, "c": 2}
    for name, seed in presets.items():
        run(sequences, LvmPreset("amn", {"attention": 4, "hidden": 4}, epochs=2, seed=seed), tmp_path / name)
    a, b, c = (weights_in(tmp_path / name) for name in presets)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_the_exported_model_says_what_it_is_and_predicts_as_trained(sequences, tmp_path):
    train, held = sequences.split(0.4)
    run(train, TINY, tmp_path / "run")
    folder = export_lvm(
        train, held, TINY, tmp_path / "run", space="toy-1", models=tmp_path / "models", stem="lstm"
    )
    model, card = checkpoint.load(folder, "toy-1")
    assert folder.name.startswith("lstm_2")
    assert card.windows == len(train)
    assert card.data_sha256 == sequences.digest
    assert {(s.source, s.licence) for s in card.trained_on} <= {(f"source {i}", "CC0-1.0") for i in range(2)}
    assert sum(s.documents for s in card.trained_on) == len({*train.document[train.windows]})
    assert card.config["batch"] == 8
    assert card.config["steps"] == 12 * (len(train) // 8)
    assert card.metrics == validate(model, held)
    context, _ = held.directions(np.arange(len(held)))
    trained = checkpoint.build("lstm", {"dimensions": 16, "width": 16})
    Objective(trained, 1.0).load_state_dict(weights_in(tmp_path / "run"))
    a, b = checkpoint.predict(trained.eval(), context), checkpoint.predict(model, context)
    assert np.abs(a - b).max() < 0.02 * np.abs(a).max()  # 8 bits per weight
