"""The one training loop: steps or minutes, warm-up and cosine, checkpoints, resume, logs."""

import json
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from nextvec.errors import FailedPrecondition
from training import processes

CHECKPOINT = "checkpoint.pt"
RECIPE = "recipe.json"
_LOGGED_EVERY = 20  # steps
_SMALLEST = 0.005  # size at which a tensor counts that starts at zero


class TrainingError(FailedPrecondition):
    """A training cannot go on; the message names the remedy."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    The rate rises linearly over `warmup` steps, or over `warmup_share` of the training where that is
    longer, to `rate` and falls along a cosine to `final_rate` at the end, which is step `steps` or, where
    `minutes` is given, whichever comes first.
    """

    rate: float
    final_rate: float = 0.0
    warmup: int = 200
    warmup_share: float = 0.0
    steps: int = 1_000_000
    minutes: float | None = None
    relative: bool = False  # rates in units of each tensor's own size at the start
    clip: float = 1.0
    weight_decay: float = 0.01
    save_every_s: float = 120.0
    seed: int = 1

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the training that is done, 0 to 1."""
        by_time = elapsed_s / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def rate_at(self, step: int, progress: float) -> float:
        """Learning rate."""
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        risen = min(1.0, (step + 1) / max(1, self.warmup))
        if self.warmup_share:
            risen = min(risen, progress / self.warmup_share)
        return risen * (self.final_rate + (self.rate - self.final_rate) * cosine)


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    share: float
    loss: float
    rate: float
    tokens_per_s: float


def claim(folder: Path, recipe: Mapping[str, object]) -> None:
    """Marks a run folder with what is trained in it, or checks that it is the same as before.

    What the record does not hold yet is added, so that each part of a training claims what it depends on.
    Raises TrainingError naming what differs: going on from another recipe's checkpoint would give a model
    that no recipe gives. How long and how fast may change.
    """
    record = folder / RECIPE
    begun = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    differing = [f"{k} {begun[k]}, now {v}" for k, v in recipe.items() if begun.get(k, v) != v]
    if differing:
        raise TrainingError(f"{folder} was begun with {'; '.join(differing)}; give another run folder")
    if processes.rank() == 0 and not recipe.keys() <= begun.keys():
        folder.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps({**begun, **recipe}, indent=1) + "\n", encoding="utf-8")
        partial.replace(record)


def train(
    model: nn.Module,
    batch_at: Callable[[int], dict[str, Tensor]],
    schedule: Schedule,
    folder: Path,
    device: torch.device,
) -> Iterator[Progress]:
    """Trains in place, from the folder's checkpoint where there is one; yields after every step.

    `batch_at(step)` must depend on nothing but the step, which makes a resumed training equal to one
    that was never interrupted. The model is called with the batch as keyword arguments and returns
    its mean loss; what it has `measured`, by name, is logged. Of several processes each trains on its
    slice of every batch, and the first one writes. The checkpoint is removed by nobody: a finished
    training resumes to nothing. Raises TrainingError where the checkpoint is of another model or the
    gradient is not finite.
    """
    # Numbers next to zero cost a CPU a hundred times the others and mean nothing here. The setting is the
    # whole thread's, so others get it back as it was.
    torch.set_flush_denormal(True)
    try:
        yield from _steps(model, batch_at, schedule, folder, device)
    finally:
        torch.set_flush_denormal(False)


def _steps(
    model: nn.Module,
    batch_at: Callable[[int], dict[str, Tensor]],
    schedule: Schedule,
    folder: Path,
    device: torch.device,
) -> Iterator[Progress]:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(schedule.seed)
    model.to(device).train()
    optimizer = torch.optim.AdamW(_groups(model, schedule), lr=schedule.rate, betas=(0.9, 0.98), fused=True)
    step, elapsed = _resume(folder / CHECKPOINT, model, optimizer, device)
    first = processes.rank() == 0
    # What a killed training logged behind its last checkpoint is logged again.
    log = SummaryWriter(str(folder / "log"), purge_step=step) if first else None
    saved = last = time.monotonic()
    while (share := schedule.progress(step, elapsed)) < 1:
        rate = schedule.rate_at(step, share)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        batch = {name: tensor.to(device) for name, tensor in processes.share(batch_at(step)).items()}
        # Dropout, too, then depends on nothing but the step and the process.
        torch.manual_seed(schedule.seed + step + (processes.rank() << 32))
        with autocast(device):
            loss = model(**batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        terms = _terms(batch)
        all_terms = processes.total(terms, device)
        mean_loss = processes.total(loss.item() * terms / all_terms, device)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        processes.average(gradients, terms / all_terms)
        norm = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        if not torch.isfinite(norm):
            raise TrainingError(f"gradient norm is {norm.item()} at step {step}; lower the rate")
        optimizer.step()
        step += 1
        now = time.monotonic()
        spent, last = now - last, now
        elapsed = processes.agreed(elapsed + spent, device)
        if log and step % _LOGGED_EVERY == 0:
            figures = {"loss": mean_loss, "rate": rate, "gradient_norm": norm.item()}
            for name, value in (figures | getattr(model, "measured", {})).items():
                log.add_scalar(name, value, step)
        if first and now - saved > schedule.save_every_s:
            _save(folder / CHECKPOINT, model, optimizer, step, elapsed)
            saved = now
        yield Progress(step, share, mean_loss, rate, all_terms / spent)
    if first:
        _save(folder / CHECKPOINT, model, optimizer, step, elapsed)
    if log:
        log.close()


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 arithmetic where the hardware has it, else none."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=has)


def _terms(batch: dict[str, Tensor]) -> float:
    """How many terms a batch's mean loss has: its tokens where it has labels, else its rows."""
    if "labels" in batch:
        return float((batch["labels"] != 0).sum())
    return float(len(next(iter(batch.values()))))


def _groups(model: nn.Module, schedule: Schedule) -> list[dict[str, object]]:
    """Matrices decay, vectors do not; `factor` is what each group's rate is multiplied with."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            size = parameter.detach().square().mean().sqrt().item()
            factor = max(size, _SMALLEST) if schedule.relative else 1.0
            groups.setdefault((parameter.ndim >= 2, factor), []).append(parameter)
    return [
        {"params": group, "weight_decay": schedule.weight_decay if decays else 0.0, "factor": factor}
        for (decays, factor), group in groups.items()
    ]


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, elapsed: float) -> None:
    partial = path.with_suffix(".partial")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "elapsed": elapsed,
    }
    torch.save(state, partial)
    partial.replace(path)


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{path} is not a checkpoint of this training ({reason}); give another run folder, or remove it"
        ) from error
    return state["step"], state["elapsed"]
