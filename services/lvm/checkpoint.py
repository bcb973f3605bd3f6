"""Models to and from their folders. Loading proves that a model computes what it computed when saved."""

import os
import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nextvec import weights
from nextvec.errors import NotFound, WrongSpace
from nextvec.logs import get_log
from nextvec.plugins import PluginFolder
from nextvec.vectors import Array, unit
from nextvec.weights import WeightsError
from services.lvm import serving
from services.lvm.registry import PROBE, WEIGHTS, ModelCard, ModelError

log = get_log(__name__)

ARCHITECTURES = PluginFolder("services.lvm.models", "LVM architecture")
CONTEXT = 5
"""Vectors of a context."""

_PROBES = 2
# Other processors and thread counts change the last bits of a float32 sum, some 1e-6 of the norm. A wrong
# forward pass is off by a hundred times this even where it differs only in the scale of the attention.
_TOLERANCE = 1e-4


def build(architecture: str, hyperparameters: Mapping[str, Any] | None = None) -> nn.Module:
    """A new model; what `hyperparameters` leaves out has the production value.

    Raises NotFound, listing the known architectures, and ModelError for hyper-parameters it does not have.
    """
    module = ARCHITECTURES.load(architecture)
    try:
        return module.Model(module.Hyperparameters(**(hyperparameters or {})))
    except TypeError as error:
        raise ModelError(f"wrong hyper-parameters for architecture {architecture!r}: {error}") from error


def parameter_count(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters())


@torch.inference_mode()
def predict(model: nn.Module, contexts: Array) -> Array:
    """Vectors [N, 5, D] of any length → raw predictions [N, D], in float32."""
    device = next(model.parameters(), torch.empty(0)).device  # a prepared model may have none left
    prediction: Array = model(torch.from_numpy(unit(contexts)).to(device)).float().cpu().numpy()
    return prediction


def save(
    models: Path,
    stem: str,
    model: nn.Module,
    card: ModelCard,
    measure: Callable[[nn.Module], dict[str, float]] = lambda model: {},
) -> Path:
    """Writes `model` to a new folder `<stem>_<timestamp>` of `models` and returns the folder.

    Weights are stored in 8 bits per element with a scale per row, and read back into `model`, so that
    the probe and what `measure` gives belong to the model as it will be served. The card's last fields
    are filled in here; its hyper-parameters must be complete. The folder appears complete or not at all.
    """
    name = f"{stem}_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    folder = models / name
    if folder.exists():
        raise ModelError(f"{folder} exists; a model's folder is written once")
    draft = models / f".{name}.{os.getpid()}"
    draft.mkdir(parents=True)
    try:
        state = {key: tensor.detach().float().cpu().numpy() for key, tensor in model.state_dict().items()}
        weights.save(draft / WEIGHTS, state, "int8")
        _fill(model, draft / WEIGHTS)
        model.eval()
        context = _probe_context(card.hyperparameters["dimensions"])
        probe = {"context": context, "expected": predict(model, context)}
        weights.save(draft / PROBE, probe, "float32")
        replace(
            card,
            name=name,
            parameters=parameter_count(model),
            sha256=weights.sha256(draft / WEIGHTS),
            metrics=measure(model),
        ).write(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def load(folder: Path, space: str | None = None, device: str = "cpu") -> tuple[nn.Module, ModelCard]:
    """The model of a folder, ready to predict, and its card.

    Raises WrongSpace where the model is for another space than `space`, and ModelError where the weights
    are missing, damaged or exchanged, do not fit the architecture, or do not give the golden probe's
    prediction: the last is the sign of another network with the same parameter names and shapes.
    """
    card = ModelCard.read(folder)
    if space is not None and card.space != space:
        raise WrongSpace(
            f"model {card.name!r} is for space {card.space!r}; this stage works in {space!r}: "
            "use a model trained on that family's vectors"
        )
    path = folder / WEIGHTS
    try:
        if path.is_file() and weights.sha256(path) != card.sha256:
            raise ModelError(f"{path} does not have the SHA-256 of its card, {card.sha256}; restore it")
        model = build(card.architecture, card.hyperparameters)
        if torch.device(device).type == "cuda":
            # Recurrent networks otherwise multiply in TF32, whose error is beyond the probe's tolerance.
            torch.backends.cudnn.allow_tf32 = False
        _fill(model, path)
        probe = weights.load(folder / PROBE)
    except (WeightsError, NotFound) as error:
        raise ModelError(str(error)) from error
    if parameter_count(model) != card.parameters:
        raise ModelError(
            f"model {card.name!r} has {parameter_count(model):,} parameters, its card says "
            f"{card.parameters:,}; the card or the architecture {card.architecture!r} was changed"
        )
    model.to(device).eval()
    _require_probe(model, probe, card)
    return (_prepared(model, probe, card) if torch.device(device).type == "cpu" else model), card


def hyperparameters_of(architecture: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of an architecture: `given` ones, production values for the rest."""
    return asdict(ARCHITECTURES.load(architecture).Hyperparameters(**given))


def _fill(model: nn.Module, path: Path) -> None:
    stored = weights.load(path)
    try:
        model.load_state_dict({key: torch.from_numpy(array) for key, array in stored.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} does not fit the architecture of its card: {reason[:300]}") from error


def _prepared(model: nn.Module, probe: Mapping[str, Array], card: ModelCard) -> nn.Module:
    """The model made fast, where that gives the same; an architecture may ask more than is replaced."""
    fast = deepcopy(model)
    try:
        serving.prepare(fast)
        _require_probe(fast, probe, card)
    except Exception as error:
        log.warning("model served as it is, not made faster", model=card.name, reason=str(error))
        return model
    return fast


def _require_probe(model: nn.Module, probe: Mapping[str, Array], card: ModelCard) -> None:
    if not {"context", "expected"} <= probe.keys():
        raise ModelError(f"the golden probe of model {card.name!r} is incomplete; restore {PROBE}")
    try:
        found = predict(model, probe["context"])
        norms = np.linalg.norm(probe["expected"], axis=1)
        error = float((np.linalg.norm(found - probe["expected"], axis=1) / norms).max())
    except (RuntimeError, ValueError) as fault:
        raise ModelError(f"the golden probe of model {card.name!r} cannot be run: {fault}") from fault
    if not error <= _TOLERANCE:
        raise ModelError(
            f"model {card.name!r} does not reproduce its golden probe (relative error {error:.2g}, at most "
            f"{_TOLERANCE:g}): the code of architecture {card.architecture!r} is not what it was trained with"
        )


def _probe_context(dimensions: int) -> Array:
    """Contexts [2, 5, D] with cosines of 0.4 between their vectors, as neighbouring sentences have."""
    random = np.random.default_rng(0)
    topic = random.standard_normal((_PROBES, 1, dimensions))
    own = random.standard_normal((_PROBES, CONTEXT, dimensions))
    return unit((0.4**0.5 * topic + 0.6**0.5 * own).astype(np.float32))
