"""Inverters and correctors in the format of vec2text's published checkpoints.

A folder holds `config.json` (vec2text's InversionConfig), `model.safetensors` or shards with
`model.safetensors.index.json`, possibly `tokenizer.json`, and `card.json` where it was trained here. Sizes
are read off the tensors; the configuration gives only the token limit and what no tensor shows.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from nextvec import weights
from nextvec.chunking import open_tokenizer
from nextvec.family import Family
from nextvec.weights import WeightsError

Kind = Literal["inverter", "corrector"]

_PROJECTIONS: dict[Kind, tuple[str, ...]] = {
    "inverter": ("embedding_transform",),
    "corrector": ("embedding_transform_1", "embedding_transform_2", "embedding_transform_3"),
}


@dataclass(frozen=True)
class Checkpoint:
    """The weights of an inverter or corrector under current names.

    `state` has `encoder_decoder.*` (T5), the projections `embedding_transform*.{0,3}.*` and, in a corrector,
    `layernorm.*`. `limit` counts tokens with the start token; `digest` changes with any weight.
    """

    kind: Kind
    folder: Path
    state: dict[str, Tensor]
    limit: int
    ignores_hypothesis_vector: bool
    digest: str

    @classmethod
    def load(cls, kind: Kind, family: Family) -> "Checkpoint":
        """Reads the family's inverter or corrector.

        Raises WeightsError where files are missing or corrupt or not those of the card, or the weights are of
        another kind of model, another size of vector, another vector space, or another tokenizer.
        """
        folder = family.part(kind)
        config = _read_json(folder / "config.json")
        made_for = config.get("space")
        if made_for not in (None, family.space):
            raise WeightsError(
                f"{folder} was made for the space {made_for!r}, family {family.name!r} has {family.space!r}: "
                "encoder and decoder must be of one family"
            )
        made_with = config.get("tokenizer_sha256")
        if made_with and made_with != weights.sha256(_text_tokenizer_file(family)):
            raise WeightsError(
                f"{folder} was trained with another tokenizer than {_text_tokenizer_file(family)}; restore "
                "that file, or train inverter and corrector anew"
            )
        files = _weight_files(folder)
        state: dict[str, Tensor] = {}
        for file in files:
            arrays = weights.load(file)
            state |= {
                name: torch.from_numpy(array)
                for name, array in arrays.items()
                if not name.startswith("embedder.")
            }
        _require_recorded(folder, files)
        state = rename(kind, state)
        _check(kind, folder, state, family.dimensions)
        return cls(
            kind=kind,
            folder=folder,
            state=state,
            limit=int(config.get("max_seq_length") or family.token_limit),
            ignores_hypothesis_vector=bool(config.get("corrector_ignore_hypothesis_embedding")),
            digest=_digest(files),
        )

    @property
    def t5(self) -> dict[str, Tensor]:
        """The encoder-decoder's weights under T5's published names."""
        prefix = "encoder_decoder."
        return {k.removeprefix(prefix): v for k, v in self.state.items() if k.startswith(prefix)}

    @property
    def dimensions(self) -> int:
        """Dimension of the vectors that the model reads."""
        return self.state[f"{_PROJECTIONS[self.kind][0]}.0.weight"].shape[1]


def text_tokenizer(family: Family) -> Tokenizer:
    """The tokenizer of the texts that inverter and corrector write.

    It lies with the inverter, or is the encoder's where the two share one, as in the public checkpoints.
    Raises WeightsError where neither is there.
    """
    return open_tokenizer(_text_tokenizer_file(family))


def texts_digest(family: Family, inverter: Checkpoint, corrector: Checkpoint) -> str:
    """Changes with anything that may change a text: weights, token limit, tokenizer, and what is ignored.

    Raises WeightsError as `text_tokenizer` does.
    """
    parts = [inverter.digest, corrector.digest, weights.sha256(_text_tokenizer_file(family))]
    parts += [str(corrector.limit), str(corrector.ignores_hypothesis_vector)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]


def _text_tokenizer_file(family: Family) -> Path:
    for part in ("inverter", "encoder"):
        file = family.part(part) / "tokenizer.json"
        if file.is_file():
            return file
    raise WeightsError(
        f"family {family.name!r} has no tokenizer.json in {family.part('inverter')}; restore it"
    )


def rename(kind: Kind, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Older names to current ones.

    An inverter without dropout between its projection's layers has the second one as `.2`; a corrector of
    that time has one projection for all three vectors.
    """
    renamed = {
        name.replace("embedding_transform.2.", "embedding_transform.3."): tensor
        for name, tensor in state.items()
    }
    if kind == "corrector":
        shared = {k: v for k, v in renamed.items() if k.startswith("embedding_transform.")}
        for name, tensor in shared.items():
            del renamed[name]
            for projection in _PROJECTIONS["corrector"]:
                renamed.setdefault(name.replace("embedding_transform", projection, 1), tensor)
    return renamed


def _check(kind: Kind, folder: Path, state: dict[str, Tensor], dimensions: int) -> None:
    needed = [f"{p}.{n}.{what}" for p in _PROJECTIONS[kind] for n in (0, 3) for what in ("weight", "bias")]
    if kind == "corrector":
        needed += ["layernorm.weight", "layernorm.bias"]
    needed += [
        "encoder_decoder.encoder.final_layer_norm.weight",
        "encoder_decoder.decoder.final_layer_norm.weight",
    ]
    missing = [name for name in needed if name not in state]
    if missing:
        other: Kind = "inverter" if kind == "corrector" else "corrector"
        looks = f"; it looks like a {other}" if f"{_PROJECTIONS[other][0]}.0.weight" in state else ""
        raise WeightsError(f"{folder} is not a vec2text {kind}: {missing[0]} is missing{looks}")
    width = state["encoder_decoder.encoder.final_layer_norm.weight"].shape[0]
    for projection in _PROJECTIONS[kind]:
        first, second = state[f"{projection}.0.weight"], state[f"{projection}.3.weight"]
        if first.shape[1] != dimensions:
            raise WeightsError(
                f"{folder} reads vectors of {first.shape[1]} dimensions; the family's have {dimensions}"
            )
        if second.shape[0] % width or second.shape[1] != first.shape[0]:
            raise WeightsError(
                f"{folder} is corrupt: {projection}.3.weight is {list(second.shape)}; "
                f"must be [a multiple of {width}, {first.shape[0]}]"
            )


def _require_recorded(folder: Path, files: list[Path]) -> None:
    """A file that is readable may still hold other numbers; published checkpoints have no card to tell by."""
    card = folder / "card.json"
    recorded = _read_json(card).get("sha256") if card.is_file() else None
    if not recorded:
        return
    for file in files:
        if (found := weights.sha256(file)) != recorded:
            raise WeightsError(f"{file} has SHA-256 {found}, its card says {recorded}; restore the file")


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file() or not index.is_file():
        if not single.is_file() and any(folder.glob("pytorch_model*.bin")):
            raise WeightsError(
                f"{folder} has only pickled weights, which are not loaded; convert them to safetensors"
            )
        return [single]
    shards = _read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsError(f"{index} has no weight_map; restore it")
    return [folder / name for name in sorted(set(shards.values()))]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise WeightsError(f"{file} is missing; run `nextvec doctor` to see how to get it") from None
    except (ValueError, OSError) as error:
        raise WeightsError(f"{file} is corrupt ({error}); restore it") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is not an object; restore it")
    return content


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(weights.sha256(file).encode())
    return digest.hexdigest()
