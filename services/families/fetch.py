"""Public parts of a family into its folder, from a model hub or from local copies in the hub's format."""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from nextvec import weights
from nextvec.family import Family, FamilyError

_WANTED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt")
_INDEX = "pytorch_model.bin.index.json"
_WEIGHTS = "model.safetensors"


def fetch(family: Family, local: dict[str, Path] | None = None) -> Iterator[tuple[str, Path]]:
    """Brings every part that the family's record names a hub repository for; yields (part, folder).

    A part named in `local` is copied from that folder instead, with no network. Parts already there are
    left alone, and parts that are there by half are completed. Weights that come as pickles are read as
    plain tensors only (`weights_only`) and written as safetensors. Of a family whose encoder alone is public
    the encoder's weights are brought, and accepted with the SHA-256 of the family's record only. Raises
    FamilyError where a part can not be had.
    """
    local = local or {}
    repositories = family.hub or ({"encoder": family.encoder.hub} if family.encoder.hub else {})
    if unknown := local.keys() - repositories.keys():
        raise FamilyError(
            f"family {family.name!r} has no public {', '.join(sorted(unknown))}; "
            f"have {', '.join(repositories) or 'none'}"
        )
    for part, repository in repositories.items():
        folder = family.part(part)
        if not family.hub:
            # The rest of the folder is the family's own, and part of what its space is made from.
            _bring_weights(repository, local.get(part), folder, family.encoder.sha256)
        elif not _is_whole(folder):
            _bring(repository, local.get(part), folder)
            _unpickle(folder)
        yield part, folder


def _is_whole(folder: Path) -> bool:
    index = folder / f"{_WEIGHTS}.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {_WEIGHTS}
    return all((folder / name).is_file() for name in (*names, "config.json"))


def _bring(repository: str, source: Path | None, folder: Path) -> None:
    if source is None:
        _download(repository, folder, _WANTED)
        return
    if not (source / "config.json").is_file():
        raise FamilyError(f"{source} holds no config.json, so it is no copy of {repository}")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (path for pattern in _WANTED for path in source.glob(pattern)):
        _copy(path, folder / path.name)


def _bring_weights(repository: str, source: Path | None, folder: Path, sha256: str | None) -> None:
    target = folder / _WEIGHTS
    if not target.is_file():
        if source is None:
            _download(repository, folder, (_WEIGHTS,))
        elif (source / _WEIGHTS).is_file():
            _copy(source / _WEIGHTS, target)
        if not target.is_file():
            raise FamilyError(f"{source or repository} holds no {_WEIGHTS}")
    if sha256 and (found := weights.sha256(target)) != sha256:
        raise FamilyError(f"{target} has SHA-256 {found}, must have {sha256}; remove it and fetch again")


def _copy(source: Path, target: Path) -> None:
    """A copy that has its name only once it is whole."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _download(repository: str, folder: Path, patterns: tuple[str, ...]) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        # Folders inside a repository hold other formats and layers that no recipe here reads.
        snapshot_download(
            repository, local_dir=folder, allow_patterns=list(patterns), ignore_patterns=["*/*"]
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FamilyError(
            f"cannot fetch {repository} from the model hub ({reason}); "
            "connect to the network, or give a local copy of the repository (nextvec models fetch --help)"
        ) from error


def _unpickle(folder: Path) -> None:
    """Turns pytorch_model.bin, whole or sharded, into model.safetensors."""
    if _is_whole(folder):
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
        try:
            state |= torch.load(folder / name, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FamilyError(f"{folder / name} is no file of plain tensors ({reason})") from error
    partial = folder / f".{_WEIGHTS}.partial"
    # Tied tensors share memory, which the format refuses: each gets its own.
    save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, partial)
    # safetensors writes files that their owner alone can read; a server often runs as another user.
    partial.chmod(0o644)
    partial.replace(folder / _WEIGHTS)
    for name in names:
        (folder / name).unlink()
