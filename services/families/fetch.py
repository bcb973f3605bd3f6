"""Public parts of a family into its folder, from a model hub or from local copies in the hub's format."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from nextvec.family import Family, FamilyError

_WANTED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt")
_INDEX = "pytorch_model.bin.index.json"


def fetch(family: Family, local: dict[str, Path] | None = None) -> Iterator[tuple[str, Path]]:
    """Brings every part that the family's record names a hub repository for; yields (part, folder).

    A part named in `local` is copied from that folder instead, with no network. Parts already there are
    left alone. Weights that come as pickles are read as plain tensors only (`weights_only`) and written as
    safetensors. Raises FamilyError where a part can not be had.
    """
    for part, repository in family.hub.items():
        folder = family.part(part)
        if not (folder / "config.json").is_file():
            _bring(repository, (local or {}).get(part), folder)
        _unpickle(folder)
        yield part, folder


def _bring(repository: str, source: Path | None, folder: Path) -> None:
    if source is not None:
        if not (source / "config.json").is_file():
            raise FamilyError(f"{source} holds no config.json, so it is no copy of {repository}")
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(repository, local_dir=folder, allow_patterns=list(_WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FamilyError(
            f"cannot fetch {repository} from the model hub ({reason}); "
            f"connect to it, or give a local copy of the repository"
        ) from error


def _unpickle(folder: Path) -> None:
    """Turns pytorch_model.bin, whole or sharded, into model.safetensors."""
    target = folder / "model.safetensors"
    if target.exists() or list(folder.glob("model-*.safetensors")):
        return
    index = folder / _INDEX
    names = (
        sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if index.exists()
        else ["pytorch_model.bin"]
    )
    state: dict[str, torch.Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FamilyError(f"{folder} holds neither safetensors nor {name}")
        state |= torch.load(folder / name, map_location="cpu", weights_only=True)
    # Tied tensors share memory, which the format refuses: each gets its own.
    save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, target)
