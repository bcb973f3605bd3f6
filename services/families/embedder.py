"""Text to raw vectors by a family's recipe: masked mean of the named hidden states, standardised."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Self

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from nextvec import weights
from nextvec.chunking import open_tokenizer
from nextvec.family import EncoderRecipe, Family, FamilyError
from services.families.bert import BertConfig, BertEncoder
from services.families.t5 import T5Encoder
from services.layers import replace


class Embedder(nn.Module):
    """A family's encoder: texts → vectors [N, dimensions], float32, not normalised."""

    mean: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, recipe: EncoderRecipe, tokenizer: Tokenizer, dimensions: int):
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.layers = recipe.layers
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(dimensions))

    @classmethod
    def load(cls, family: Family) -> "Embedder":
        """Loads the encoder, refusing weights whose SHA-256 differs from the family's record.

        Raises StartupError where a file is missing, corrupt or not of this encoder.
        """
        folder, recipe = family.part("encoder"), family.encoder
        weight_file = family.encoder_weights()
        found = weights.sha256(weight_file)
        if recipe.sha256 and found != recipe.sha256:
            raise FamilyError(
                f"{weight_file} has SHA-256 {found}, family {family.name!r} needs {recipe.sha256}; "
                "replace it with the official file"
            )
        state = {name: torch.from_numpy(a) for name, a in weights.load(weight_file).items()}
        try:
            encoder = _build_encoder(recipe, folder / "config.json", state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise FamilyError(
                f"{weight_file} and {folder / 'config.json'} make no encoder ({reason}); restore them"
            ) from error
        tokenizer = open_tokenizer(folder / "tokenizer.json")
        embedder = cls(encoder, recipe, tokenizer, family.dimensions)
        if recipe.standardise:
            statistics = weights.load(folder / recipe.standardise)
            embedder.mean.copy_(torch.from_numpy(statistics["mean"]))
            embedder.scale.copy_(torch.from_numpy(statistics["scale"]))
        return embedder.eval()

    def made_fast(self) -> Self:
        """Itself, as fast as it gets on this CPU without being less exact, and fit for nothing else."""
        replace(self)
        return self

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with the encoder's special tokens, uncut."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask [B, T] (right padding, mask 1 on tokens) → vectors [B, dimensions]."""
        states = self.encoder(ids, mask)
        keep = mask[..., None].to(states[0].dtype)
        means = [(states[layer] * keep).sum(1) / keep.sum(1) for layer in self.layers]
        return (torch.cat(means, dim=1).float() - self.mean) / self.scale

    def embed(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of N texts → vectors [N, dimensions]."""
        width = max(len(row) for row in token_ids)
        ids = torch.zeros(len(token_ids), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        device = self.mean.device
        return self(ids.to(device), mask.to(device))


def _build_encoder(recipe: EncoderRecipe, config_file: Path, state: dict[str, Tensor]) -> nn.Module:
    if recipe.architecture == "bert":
        config = json.loads(config_file.read_text())
        encoder = BertEncoder(BertConfig(**{f.name: config[f.name] for f in fields(BertConfig)}))
        encoder.load_state_dict(encoder.rename(state))
        return encoder
    if recipe.architecture == "t5":
        try:
            return T5Encoder.of(state)
        except KeyError as error:
            raise FamilyError(f"the encoder weights are not T5's: {error.args[0]} is missing") from error
    raise FamilyError(f"unknown encoder architecture {recipe.architecture!r}; have bert, t5")
