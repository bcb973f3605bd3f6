"""The processes of one training: alone, or several that torchrun started.

Every process makes the same batch and takes its slice of it; gradients are averaged by the share of the
batch that each process had. So several processes compute what one computes on the whole batch, up to the
order of sums and random numbers drawn inside the model.
"""

import os
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch import distributed as dist

from nextvec.errors import InvalidInput


def join(device: torch.device) -> torch.device:
    """Joins the processes that torchrun started, if it did; returns this process's device.

    torchrun's environment says how many there are. On accelerators each process has its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def wait() -> None:
    """Waits until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def leave() -> None:
    """Waits for the other processes and parts from them."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; the first one writes checkpoints, logs and models."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This process's slice of every tensor of a batch [B, ...].

    Raises InvalidInput for a batch with fewer rows than processes.
    """
    rows = len(next(iter(batch.values())))
    if rows < count():
        raise InvalidInput(f"a batch of {rows} cannot be shared by {count()} processes; start fewer")
    start, stop = rows * rank() // count(), rows * (rank() + 1) // count()
    return {name: tensor[start:stop] for name, tensor in batch.items()}


def total(value: float, device: torch.device) -> float:
    """The sum of a number over the processes."""
    if count() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return tensor.item()


def agreed(value: float, device: torch.device) -> float:
    """The first process's value, for what every process must decide alike."""
    if count() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return tensor.item()


def average(tensors: Iterable[Tensor], part: float) -> None:
    """Replaces tensors by their mean over the processes, in which this one weighs `part` of 1."""
    if count() == 1:
        return
    listed = list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in listed]) * part
    dist.all_reduce(flat)
    for tensor, piece in zip(listed, flat.split([tensor.numel() for tensor in listed]), strict=True):
        tensor.copy_(piece.view_as(tensor))


def gathered(tensor: Tensor) -> Tensor:
    """A tensor's slices [B / count, ...], equally long, of all processes as one [B, ...]; no gradient."""
    if count() == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(count())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
