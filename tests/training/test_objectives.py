"""The loss of latent vector models: which gradients it has, and which recipes it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nextvec.routes import ROUTES
from services.lvm import checkpoint
from training.lvm import LvmPreset, train_lvm
from training.objectives import Contrast, DominantTerm, Objective, info_nce
from training.presets import PresetError

CPU = torch.device("cpu")


def batch(size=32, dimensions=768):
    """Contexts and targets as neighbouring sentences have them, from different documents."""
    random = torch.Generator().manual_seed(0)
    topic = torch.randn(size, 1, dimensions, generator=random)
    six = F.normalize(0.6 * topic + 0.8 * torch.randn(size, 6, dimensions, generator=random), dim=2)
    return {"context": six[:, :5], "target": six[:, 5], "rows": torch.arange(size) * 100}


def gradient(loss, weight):
    return torch.autograd.grad(loss, weight, retain_graph=True)[0]


@pytest.mark.parametrize(("squared", "infonce"), [(0.05, 1.0), (1.0, 0.05)])
@pytest.mark.parametrize("route", [route.name for route in ROUTES if route.has_lvm])
def test_the_failing_recipes_are_refused_with_the_measured_ratio(route, squared, infonce):
    preset = LvmPreset.read(route, "cpu", mse=squared, infonce=infonce)
    torch.manual_seed(0)
    model = checkpoint.build(preset.architecture, preset.hyperparameters)
    with pytest.raises(
        DominantTerm, match=r"InfoNCE of weight .* has ([\d.e+]+) times the gradient"
    ) as refused:
        Objective(model, model.scale, preset.contrast())(**batch())
    ratio = float(str(refused.value).split(" times")[0].split()[-1])
    assert ratio > 5


def test_the_ratio_is_that_of_the_gradients_of_the_last_layer():
    model = checkpoint.build("amn")
    data = batch()
    objective = Objective(model, 1.0, Contrast(weight=1e-6))
    objective(**data)
    predicted = model(data["context"])
    last = model.residual_net[-1].weight
    squared = gradient((predicted - data["target"]).square().mean(), last).norm()  # mean over dimensions too
    ranking = gradient(1e-6 * info_nce(predicted, data["target"], data["rows"], 0.07), last).norm()
    assert objective.measured["infonce_gradient"] == pytest.approx(float(ranking / squared), rel=1e-4)


def test_a_weight_below_the_named_one_is_accepted():
    model, data = checkpoint.build("amn"), batch()
    with pytest.raises(DominantTerm) as refused:
        Objective(model, 1.0, Contrast(weight=0.05))(**data)
    named = float(str(refused.value).rsplit(maxsplit=1)[-1])
    Objective(model, 1.0, Contrast(weight=0.9 * named))(**data)


def test_a_term_that_comes_to_dominate_later_is_refused_then():
    model, data = checkpoint.build("gru"), batch()
    weight = model.output_proj.weight.data
    start = weight.clone()
    weight *= 1000  # predictions far too long: the squared error is all there is
    objective = Objective(model, 1.0, Contrast(weight=0.05))
    for _ in range(3):
        objective(**data)
    weight.copy_(0.05 * start)
    objective(**data)  # not measured
    with pytest.raises(DominantTerm, match="4 steps from the start"):
        objective(**data)


@pytest.mark.parametrize("scale", [1.0, 27.7])
def test_balanced_the_gradient_of_infonce_has_the_given_share(scale):
    torch.manual_seed(0)
    model, data = checkpoint.build("lstm", {"scale": scale}).train(), batch()
    model.lstm.dropout = 0.0
    balanced = Objective(model, scale, Contrast(weight=0.5, balanced=True))
    last = model.output_proj.weight
    squared = gradient(Objective(model, scale)(**data), last)
    added = gradient(balanced(**data), last) - squared
    assert float(added.norm() / squared.norm()) == pytest.approx(0.5, rel=1e-3)
    assert balanced.measured["infonce_gradient"] == pytest.approx(0.5)


def test_infonce_is_the_cross_entropy_among_the_batchs_targets():
    predicted, target = torch.randn(4, 8), F.normalize(torch.randn(4, 8), dim=1)
    loss = info_nce(predicted, target, torch.tensor([5, 105, 205, 305]), 0.1)
    logits = F.normalize(predicted, dim=1) @ target.T / 0.1
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(4)))


def test_chunks_of_the_window_and_neighbours_of_the_target_are_no_wrong_answers():
    predicted, target = torch.randn(3, 8), F.normalize(torch.randn(3, 8), dim=1)
    near = info_nce(predicted, target, torch.tensor([10, 15, 99]), 0.1)
    logits = F.normalize(predicted, dim=1) @ target.T / 0.1
    logits[0, 1] = logits[1, 0] = -torch.inf
    torch.testing.assert_close(near, F.cross_entropy(logits, torch.arange(3)))


def test_without_a_contrast_the_loss_is_the_squared_error_alone():
    model, data = checkpoint.build("amn"), batch()
    loss = Objective(model, 1.0)(**data)
    torch.testing.assert_close(loss, 768 * F.mse_loss(model(data["context"]), data["target"]))


def test_a_balanced_training_ranks_better_than_the_squared_error_alone(sequences, tmp_path):
    plain = LvmPreset("lstm", {"width": 16}, epochs=8, batch=16, rate=1e-2)
    every = np.arange(len(sequences))
    rows = torch.from_numpy(sequences.windows[every])
    losses = []
    for name, preset in (("plain", plain), ("balanced", replace(plain, infonce=1.0, balance=True))):
        list(train_lvm(sequences, preset, tmp_path / name, CPU))
        model = checkpoint.build("lstm", {"dimensions": 16, "width": 16})
        state = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"]
        Objective(model, 1.0).load_state_dict(state)
        context, target = map(torch.from_numpy, sequences.directions(every))
        with torch.inference_mode():
            losses.append(float(info_nce(model.eval()(context), target, rows, 0.07)))
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"mse": 0.0},
        {"infonce": -1.0},
        {"temperature": 0.0},
        {"balance": True},
        {"infonce": 2.0, "balance": True},
    ],
)
def test_weights_that_do_not_go_together_are_refused(changes):
    with pytest.raises(PresetError, match="must be"):
        LvmPreset.read("amn", **changes)
