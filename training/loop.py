"""The one training loop: steps or minutes, warm-up and cosine, checkpoints, resume, logs."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

CHECKPOINT = "checkpoint.pt"


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
    its loss. The checkpoint is removed by nobody: a finished training resumes to nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.manual_seed(schedule.seed)
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        _groups(model, schedule.weight_decay), lr=schedule.rate, betas=(0.9, 0.98), fused=True
    )
    step, elapsed = _resume(folder / CHECKPOINT, model, optimizer, device)
    log = SummaryWriter(str(folder / "log"))
    saved = last = time.monotonic()
    while (share := schedule.progress(step, elapsed)) < 1:
        rate = schedule.rate_at(step, share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = {name: tensor.to(device) for name, tensor in batch_at(step).items()}
        # Dropout, too, then depends on nothing but the step.
        torch.manual_seed(schedule.seed + step)
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(**batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"gradient norm is {norm.item()} at step {step}; lower the rate")
        optimizer.step()
        step += 1
        now = time.monotonic()
        elapsed, spent, last = elapsed + now - last, now - last, now
        tokens = int((batch["labels"] != 0).sum()) if "labels" in batch else len(next(iter(batch.values())))
        if step % 20 == 0:
            log.add_scalar("loss", loss.item(), step)
            log.add_scalar("rate", rate, step)
            log.add_scalar("gradient_norm", norm.item(), step)
        if now - saved > schedule.save_every_s:
            _save(folder / CHECKPOINT, model, optimizer, step, elapsed)
            saved = now
        yield Progress(step, share, loss.item(), rate, tokens / spent)
    _save(folder / CHECKPOINT, model, optimizer, step, elapsed)
    log.close()


def _groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
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
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["elapsed"]
