"""Checkpoints of the original system into the registry.

They are dictionaries written by `torch.save`: `model_state_dict`, `model_type`, `model_config` (the network's
sizes under the original's names), `args` (the training's settings), and figures such as `val_cosine` and
`epoch`. They are pickles, so they are read as plain tensors and numbers only, and a file that needs more is
refused. What the file claims is recorded as a claim, for it cannot be measured without the data.
"""

import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nextvec import weights
from nextvec.vectors import Array, cosine, unit
from services.lvm import checkpoint
from services.lvm.intake import NONE_KNOWN, require_provenance
from services.lvm.registry import CLAIMED, ModelCard, ModelError, Source

UNPROVEN = (
    "not held against an output of the original: it came without a golden probe, and another network with "
    "the same names and shapes would load as well"
)
"""Known issue of a model that is imported without a probe."""

_SIZES = {
    "amn": {"input_dim": "dimensions", "d_model": "attention", "hidden_dim": "hidden"},
    "gru": {"input_dim": "dimensions", "d_model": "width", "num_layers": "layers"},
    "lstm": {
        "input_dim": "dimensions",
        "hidden_dim": "width",
        "num_layers": "layers",
        "dropout": "dropout",
    },
    "transformer": {
        "input_dim": "dimensions",
        "d_model": "width",
        "nhead": "heads",
        "num_layers": "layers",
        "dropout": "dropout",
    },
}
"""By architecture: the original's names of hyper-parameters, and the names here."""

_WITHOUT_EFFECT = {"gru": {"dropout"}}
"""Settings of the original that act in training only and that the architecture here does not have."""

_POSITIONS = "pos_encoder.pe"  # a table that the network here computes
_STATE = "model_state_dict"
_PROBE = "golden_probe"
_HISTORY = "history"
_NOT_CONFIG = {_STATE, "optimizer_state_dict", "scheduler_state_dict", _PROBE, _HISTORY}

# Their figures are often numpy's numbers, which unpickling refuses unless these are named.
_NUMBERS: list[Any] = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]

# Between directions, whose norm is 1. The original trained on another kind of processor than it is served
# on here, which costs some digits; another forward pass costs far more.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Provenance:
    """What an import must be told, because the checkpoint does not say it."""

    trained_on: tuple[Source, ...]
    known_issues: tuple[str, ...]
    windows: int = 0  # context and target pairs; 0 where not known
    data_sha256: str = ""  # of the data's file; empty where not known
    config: Mapping[str, Any] = field(default_factory=dict)  # of the training, beside what the file says
    metrics: Mapping[str, float] = field(default_factory=dict)  # claimed for the model beside the file's

    @classmethod
    def read(cls, path: Path) -> "Provenance":
        """Reads a JSON file with the fields of this class; raises ModelError where it has others."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            sources = tuple(Source(**source) for source in record.pop("trained_on"))
            return cls(sources, tuple(record.pop("known_issues", ())), **record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{path} does not tell a model's provenance ({error!r}); must be "
                '{"trained_on": [{"source", "licence", "documents", "chunks"}], "known_issues": [], '
                '"windows": 0, "data_sha256": "", "config": {}, "metrics": {}}'
            ) from error


def import_original(
    path: Path,
    architecture: str,
    provenance: Provenance,
    *,
    space: str,
    models: Path,
    stem: str,
    probe: Path | None = None,
) -> Path:
    """Writes the model of a checkpoint file to the registry; returns its folder there.

    `space` is that of the vectors it was trained on, `stem` its name before the timestamp, `probe` a
    safetensors file with `context` [N, 5, D] and `expected` [N, D]; a probe inside the checkpoint counts as
    well, and without either the card has UNPROVEN among its known issues. Raises NotFound for an unknown
    architecture, and ModelError where the file cannot be read without running code from it, names another
    architecture, does not load strictly, does not reproduce a probe, or provenance is missing.
    """
    content = _read(path)
    checkpoint.ARCHITECTURES.load(architecture)
    _require_architecture(content, architecture, path)
    hyperparameters = _hyperparameters(content, architecture, path)
    model = checkpoint.build(architecture, hyperparameters)
    _fill(model, content[_STATE], path)
    model.eval()
    probes = _probes(content, probe)
    for name, recorded in probes:
        _require_probe(model, recorded, name, architecture)
    figures = {**_figures(content), **provenance.metrics}
    claims = {f"{CLAIMED}{key}": float(value) for key, value in figures.items()}
    config = _config(content) | dict(provenance.config)
    if config:
        config |= {"imported_from": path.name, "imported_sha256": weights.sha256(path)}
    card = ModelCard(
        architecture=architecture,
        hyperparameters=hyperparameters,
        space=space,
        trained_on=provenance.trained_on,
        data_sha256=provenance.data_sha256,
        windows=provenance.windows,
        config=config,
        known_issues=provenance.known_issues,
        name=path.name,
        metrics=claims,
    )
    require_provenance(card)
    if not probes:
        told = (issue for issue in card.known_issues if issue != NONE_KNOWN)
        card = replace(card, known_issues=(*told, UNPROVEN))
    context = _contexts(hyperparameters["dimensions"])
    whole = checkpoint.predict(model, context)

    def measure(stored: nn.Module) -> dict[str, float]:
        kept = cosine(checkpoint.predict(stored, context), whole).min()
        return {**claims, "cosine_to_checkpoint": round(float(kept), 5)}

    return checkpoint.save(models, stem, model, card, measure)


def _read(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} is not a checkpoint of plain tensors and numbers ({reason}); nothing else is unpickled: "
            "save it again without other objects"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get(_STATE), Mapping):
        raise ModelError(
            f"{path} holds no {_STATE!r}; must be a dictionary as the original's training saves it"
        )
    return content


def _require_architecture(content: Mapping[str, Any], architecture: str, path: Path) -> None:
    for place in (content, content.get("args")):
        for key in ("model_type", "architecture"):
            recorded = place.get(key) if isinstance(place, Mapping) else None
            if recorded is not None and recorded != architecture:
                raise ModelError(f"{path} records {key} {recorded!r}, asked for is {architecture!r}")


def _hyperparameters(content: Mapping[str, Any], architecture: str, path: Path) -> dict[str, Any]:
    sizes, given = _SIZES.get(architecture, {}), {}
    for key, value in (content.get("model_config") or content.get("hyperparameters") or {}).items():
        if key in sizes:
            given[sizes[key]] = value
        elif key not in _WITHOUT_EFFECT.get(architecture, ()):
            raise ModelError(
                f"{path} has hyper-parameter {key}={value!r}, which architecture {architecture!r} does not "
                f"know; have {', '.join(sizes)}"
            )
    if architecture == "transformer" and "width" in given:
        given["feed_forward"] = 4 * given["width"]
    return checkpoint.hyperparameters_of(architecture, given)


def _fill(model: nn.Module, stored: Mapping[str, Tensor], path: Path) -> None:
    state = {key: tensor for key, tensor in stored.items() if key != _POSITIONS}
    if len(state) < len(stored):
        _require_sinusoids(stored[_POSITIONS], path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} does not fit the architecture that was asked for: {reason}") from error


def _require_sinusoids(table: Tensor, path: Path) -> None:
    """Raises ModelError unless a table [1, T, W] holds the sines and cosines that the network here adds."""
    _, length, width = table.shape
    even = torch.arange(0, width, 2)
    angles = torch.arange(length)[:, None] * torch.exp(even * (-math.log(10000.0) / width))
    expected = torch.stack((angles.sin(), angles.cos()), 2).reshape(length, width)
    if not torch.allclose(table[0].float(), expected, atol=1e-4):
        raise ModelError(f"{path} has other position encodings ({_POSITIONS}) than sines and cosines")


def _probes(content: Mapping[str, Any], file: Path | None) -> list[tuple[str, dict[str, Array]]]:
    found = []
    if file is not None:
        found.append((str(file), weights.load(file)))
    if isinstance(inside := content.get(_PROBE), Mapping):
        found.append(("the checkpoint", {key: torch.as_tensor(v).numpy() for key, v in inside.items()}))
    return found


def _require_probe(model: nn.Module, probe: Mapping[str, Array], where: str, architecture: str) -> None:
    if not {"context", "expected"} <= probe.keys():
        raise ModelError(f"the probe in {where} must have context and expected; has {', '.join(probe)}")
    try:
        found = checkpoint.predict(model, probe["context"])
        # The original's networks end in a normalisation that these leave to whoever uses the prediction.
        off = float(np.linalg.norm(unit(found) - unit(probe["expected"]), axis=1).max())
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"the probe in {where} cannot be run: {error}") from error
    if not off <= _TOLERANCE:
        raise ModelError(
            f"the model does not reproduce the probe in {where} (off by {off:.2g}, at most {_TOLERANCE:g}): "
            f"it was made by another network than {architecture!r}, with the same names and shapes"
        )


def _figures(content: Mapping[str, Any]) -> dict[str, float]:
    """Losses and cosines that the checkpoint states; those of a history's last epoch where it has one."""
    history = content.get(_HISTORY)
    last: Mapping[str, Any] = {}
    if isinstance(history, list) and history and isinstance(history[-1], Mapping):
        last = history[-1]
    elif isinstance(history, Mapping):
        last = {key: values[-1] for key, values in history.items() if isinstance(values, list) and values}
    return {key: float(value) for key, value in {**last, **content}.items() if _is_figure(key, value)}


def _config(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its making and JSON can hold."""
    return {
        key: value
        for key, value in content.items()
        if key not in _NOT_CONFIG and not _is_figure(key, value) and _is_plain(value)
    }


def _is_figure(key: str, value: Any) -> bool:
    return isinstance(value, int | float | np.number) and any(word in key for word in ("loss", "cosine"))


def _is_plain(value: Any) -> bool:
    """Whether JSON can say it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _contexts(dimensions: int) -> Array:
    """Contexts [16, 5, D] to see what storing the weights in 8 bits costs."""
    return np.random.default_rng(0).standard_normal((16, checkpoint.CONTEXT, dimensions)).astype(np.float32)
