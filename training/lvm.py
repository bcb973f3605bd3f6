"""Trains a latent vector model: five unit vectors to the next one."""

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nextvec.vectors import unit
from services.lvm import checkpoint
from services.lvm.registry import ModelCard, Source
from training.loop import CHECKPOINT, Progress, Schedule, train
from training.presets import FOLDER, PresetError
from training.sequences import Sequences

_EVALUATED = 2048  # windows at a time


@dataclass(frozen=True)
class LvmPreset:
    """Everything that one training of an LVM is set by. The defaults are the original's recipe."""

    architecture: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)  # what differs from production
    epochs: float = 20.0
    minutes: float | None = None  # ends the training, and the cosine with it, sooner
    batch: int = 32
    rate: float = 5e-4
    final_rate: float = 0.0
    warmup: float = 0.0  # share of the training over which the rate rises
    warmup_steps: int = 0
    clip: float = 1.0
    weight_decay: float = 0.0
    seed: int = 1

    @classmethod
    def read(cls, route: str, hardware: str | None = None, **changes: object) -> "LvmPreset":
        """The preset of a route; `changes` override it, and it overrides that of `hardware`.

        `hardware` is "cpu" or "accelerator"; without it, the recipe is the original's. Raises PresetError
        for an unknown route or hardware, listing the known ones, or an unknown value.
        """
        values = _table(f"lvm-{hardware}") if hardware else {}
        values |= _table(f"lvm-{route}")
        values |= changes
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise PresetError(f"an LVM preset has no {', '.join(sorted(unknown))}")
        return cls(**values)

    def schedule(self, windows: int) -> Schedule:
        """The loop's schedule for so many windows."""
        return Schedule(
            rate=self.rate,
            final_rate=self.final_rate,
            warmup=self.warmup_steps,
            warmup_share=self.warmup,
            steps=max(1, round(self.epochs * self.per_epoch(windows))),
            minutes=self.minutes,
            clip=self.clip,
            weight_decay=self.weight_decay,
            seed=self.seed,
        )

    def per_epoch(self, windows: int) -> int:
        """Batches of one epoch; every batch is whole."""
        return max(1, windows // self.batch)


class Regression(nn.Module):
    """A model and its loss: squared distance of the raw prediction to the target, mean over the batch.

    The target has the norm that the model's `scale` says, and the distance is measured in units of that
    norm. With a scale of 1 this is the original's mean squared error times the dimension; Adam's steps are
    the same for both, while the gradients have a size that the clip is meant for.
    """

    def __init__(self, model: nn.Module, scale: float):
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, context: Tensor, target: Tensor) -> Tensor:
        """Unit context [B, 5, D] and unit target [B, D] → loss."""
        return (self.model(context).float() / self.scale - target).square().sum(1).mean()


def train_lvm(
    sequences: Sequences, preset: LvmPreset, folder: Path, device: torch.device
) -> Iterator[Progress]:
    """Trains on the windows of `sequences`; checkpoint and log go to `folder`, where it resumes."""
    windows, per_epoch = len(sequences), preset.per_epoch(len(sequences))
    order: dict[int, np.ndarray] = {}

    def batch_at(step: int) -> dict[str, Tensor]:
        epoch, index = divmod(step, per_epoch)
        if epoch not in order:
            order.clear()
            order[epoch] = np.random.default_rng((preset.seed, epoch)).permutation(windows)
        picked = order[epoch][index * preset.batch : (index + 1) * preset.batch]
        context, target = sequences.directions(picked)
        return {"context": torch.from_numpy(context), "target": torch.from_numpy(target)}

    torch.manual_seed(preset.seed)
    hyperparameters = _hyperparameters(sequences, preset)
    model = Regression(checkpoint.build(preset.architecture, hyperparameters), hyperparameters["scale"])
    yield from train(model, batch_at, preset.schedule(windows), folder, device)


def export_lvm(
    sequences: Sequences,
    validation: Sequences,
    preset: LvmPreset,
    folder: Path,
    *,
    space: str,
    models: Path,
    stem: str,
    known_issues: tuple[str, ...] = (),
) -> Path:
    """Writes the model that `train_lvm` left in `folder` to the registry and returns its folder there.

    `sequences`, `validation` and `preset` are those of the training, `space` that of their vectors; `stem`
    is the model's name before the timestamp. The metrics are measured on `validation`.
    """
    state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    hyperparameters = _hyperparameters(sequences, preset)
    model = checkpoint.build(preset.architecture, hyperparameters)
    Regression(model, hyperparameters["scale"]).load_state_dict(state["model"])
    card = ModelCard(
        architecture=preset.architecture,
        hyperparameters=hyperparameters,
        space=space,
        trained_on=tuple(
            Source(origin.source, origin.licence, documents, chunks)
            for origin, documents, chunks in sequences.sources()
        ),
        data_sha256=sequences.digest,
        windows=len(sequences),
        config={**asdict(preset), "steps": state["step"], "seconds": round(state["elapsed"])},
        known_issues=known_issues,
    )
    return checkpoint.save(models, stem, model, card, lambda stored: validate(stored, validation))


def validate(model: nn.Module, sequences: Sequences) -> dict[str, float]:
    """Mean cosine to the target, of the model and of the predictions that need no model."""
    sums = dict.fromkeys(("cosine", "cosine_last_chunk", "cosine_context_mean"), 0.0)
    for start in range(0, len(sequences), _EVALUATED):
        context, target = sequences.directions(np.arange(start, min(start + _EVALUATED, len(sequences))))
        predicted = (checkpoint.predict(model, context), context[:, -1], context.mean(1))
        for name, prediction in zip(sums, predicted, strict=True):
            sums[name] += float((unit(prediction) * target).sum())
    means = {name: round(total / len(sequences), 5) for name, total in sums.items()}
    return {**means, "validation_windows": len(sequences)}


def _hyperparameters(sequences: Sequences, preset: LvmPreset) -> dict[str, Any]:
    given = {"dimensions": sequences.dimensions, **preset.hyperparameters}
    return checkpoint.hyperparameters_of(preset.architecture, given)


def _table(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("lvm-*.toml")))
        raise PresetError(f"no preset {name!r}; have {known}")
    return tomllib.loads(path.read_text(encoding="utf-8"))
