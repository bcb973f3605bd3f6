"""Toy models of all architectures: production dimensions, very few units."""

import torch

from services.lvm import checkpoint
from services.lvm.registry import ModelCard, Source

SPACE = "toy-000000000000"
SIZES = {
    "amn": {"attention": 8, "hidden": 8},
    "gru": {"width": 8, "layers": 2},
    "lstm": {"width": 8},
    "transformer": {"width": 8, "heads": 2, "feed_forward": 16, "layers": 2},
}


def toy_model(architecture: str, seed: int = 1) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = checkpoint.build(architecture, SIZES[architecture])
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)  # as if trained
    return model.eval()


def save_toy(models, architecture: str, stem: str | None = None, seed: int = 1, space: str = SPACE):
    card = ModelCard(
        architecture=architecture,
        hyperparameters=checkpoint.hyperparameters_of(architecture, SIZES[architecture]),
        space=space,
        trained_on=(Source("invented texts", "CC0-1.0", 2, 40),),
        data_sha256="0" * 64,
        windows=30,
        config={"seed": seed},
        known_issues=("none known",),
    )
    figures = {"cosine": 0.5, "cosine_last_chunk": 0.25, "validation_windows": 12}
    return checkpoint.save(
        models, stem or architecture, toy_model(architecture, seed), card, lambda model: figures
    )
