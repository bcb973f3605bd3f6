"""Trains a latent vector model: five unit vectors to the next one."""

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
from training import gate, processes
from training.coherence import Report
from training.loop import CHECKPOINT, Progress, Schedule, claim, train
from training.objectives import Contrast, Objective
from training.presets import FOLDER, PresetError, read_table
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
    save_every_s: float = 120.0
    mse: float = 1.0  # factor of the squared error, averaged over dimensions
    infonce: float = 0.0  # factor of InfoNCE; balanced, its gradient as a share of the squared error's
    temperature: float = 0.07
    balance: bool = False

    def __post_init__(self) -> None:
        if self.mse <= 0 or self.infonce < 0 or self.temperature <= 0:
            raise PresetError(
                f"mse {self.mse:g} and temperature {self.temperature:g} must be above 0, "
                f"infonce {self.infonce:g} not below"
            )
        if self.balance and not 0 < self.infonce <= 1:
            raise PresetError(
                f"infonce is {self.infonce:g}; to be balanced it must be a share of the squared error's "
                "gradient, above 0 and at most 1"
            )

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
            save_every_s=self.save_every_s,
        )

    def contrast(self) -> Contrast | None:
        """The ranking loss beside the squared error."""
        return Contrast(self.infonce, self.mse, self.temperature, self.balance) if self.infonce else None

    def per_epoch(self, windows: int) -> int:
        """Batches of one epoch; every batch is whole."""
        return max(1, windows // self.batch)


def train_lvm(
    sequences: Sequences, preset: LvmPreset, folder: Path, device: torch.device
) -> Iterator[Progress]:
    """Trains on the windows of `sequences`; checkpoint and log go to `folder`, where it resumes.

    Raises PresetError where the processes cannot share a batch equally, TrainingError where the folder
    was begun with other data or another recipe, and DominantTerm where InfoNCE would decide the training.
    """
    if preset.batch % processes.count():
        raise PresetError(f"a batch of {preset.batch} cannot be shared by {processes.count()} processes")
    windows, per_epoch = len(sequences), preset.per_epoch(len(sequences))
    contrast = preset.contrast()
    order: dict[int, np.ndarray] = {}

    def batch_at(step: int) -> dict[str, Tensor]:
        epoch, index = divmod(step, per_epoch)
        if epoch not in order:
            order.clear()
            order[epoch] = np.random.default_rng((preset.seed, epoch)).permutation(windows)
        picked = order[epoch][index * preset.batch : (index + 1) * preset.batch]
        context, target = sequences.directions(picked)
        batch = {"context": torch.from_numpy(context), "target": torch.from_numpy(target)}
        return batch | {"rows": torch.from_numpy(sequences.windows[picked])} if contrast else batch

    torch.manual_seed(preset.seed)
    hyperparameters = _hyperparameters(sequences, preset)
    model = checkpoint.build(preset.architecture, hyperparameters)
    objective = Objective(model, hyperparameters["scale"], contrast)
    claim(
        folder,
        {
            "data_sha256": sequences.digest,
            "windows": windows,
            "architecture": preset.architecture,
            "hyperparameters": hyperparameters,
            "batch": preset.batch,
            "seed": preset.seed,
            "contrast": contrast and asdict(contrast),
        },
    )
    yield from train(objective, batch_at, preset.schedule(windows), folder, device)


def export_lvm(
    sequences: Sequences,
    validation: Sequences,
    preset: LvmPreset,
    folder: Path,
    *,
    space: str,
    models: Path,
    stem: str,
    check: Report | None = None,
    known_issues: tuple[str, ...] = (),
) -> Path:
    """Writes the model that `train_lvm` left in `folder` to the registry and returns its folder there.

    `sequences`, `validation` and `preset` are those of the training, `space` that of their vectors; `stem`
    is the model's name before the timestamp, `check` the verdict on the data. The metrics are measured on
    `validation`.
    """
    state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    hyperparameters = _hyperparameters(sequences, preset)
    model = checkpoint.build(preset.architecture, hyperparameters)
    Objective(model, hyperparameters["scale"]).load_state_dict(state["model"])
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
        config={
            **asdict(preset),
            "steps": state["step"],
            "seconds": round(state["elapsed"]),
            "sequential_check": check and str(check.verdict),
        },
        known_issues=(*known_issues, *(gate.issues(check) if check else ())),
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
    return read_table(path)
