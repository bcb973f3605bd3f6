"""Trains the inverter of a family: raw vector → text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from nextvec import weights
from nextvec.family import Family
from services.families.embedder import Embedder
from training.export import TOKENIZER, start_from, start_sha256
from training.inversion_data import Batches, InversionPreset, Pairs, noisy
from training.inversion_models import InversionShape, Inverter
from training.loop import CHECKPOINT, Progress, claim, train


@dataclass(frozen=True)
class InverterPreset(InversionPreset):
    """Everything that one training of an inverter is set by."""


def train_inverter(
    corpus: Path,
    family: Family,
    preset: InverterPreset,
    folder: Path,
    device: torch.device,
    start: Path | None = None,
) -> Iterator[Progress]:
    """Trains on an encoded corpus; the checkpoint and the log go to `folder`.

    `start` is the folder of an exported inverter to go on from. Raises TrainingError where the run folder
    was begun with other data, another start or another recipe.
    """
    vocabulary = family.part("inverter") / TOKENIZER
    tokenizer = Tokenizer.from_file(str(vocabulary))
    pairs = Pairs.load(corpus, tokenizer, preset.limit)
    claim(
        folder,
        {
            "data_sha256": pairs.digest,
            "tokenizer_sha256": weights.sha256(vocabulary),
            "start_sha256": start_sha256(start, folder),
            **preset.recipe(),
        },
    )
    seed = preset.schedule.seed
    batches = Batches(np.diff(pairs.offsets), preset.batch_tokens, seed)

    def batch_at(step: int) -> dict[str, Tensor]:
        rows = batches.rows(step)
        return {
            "vectors": noisy(pairs.vectors[rows], preset.noise, (seed, step)),
            "labels": pairs.labels(rows),
        }

    torch.manual_seed(seed)
    model = Inverter(preset.shape, tokenizer.get_vocab_size())
    if start:
        start_from(model, start, family, folder)
    else:
        model.start_embeddings(encoder_rows(tokenizer, family))
    yield from train(model, batch_at, preset.schedule, folder, device)


def load_inverter(folder: Path, shape: InversionShape, family: Family) -> Inverter:
    """The inverter that `train_inverter` left in a run folder."""
    tokenizer = Tokenizer.from_file(str(family.part("inverter") / "tokenizer.json"))
    model = Inverter(shape, tokenizer.get_vocab_size())
    model.load_state_dict(torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)["model"])
    return model


def encoder_rows(tokenizer: Tokenizer, family: Family) -> Tensor:
    """Start values for the token embeddings [V, width of the encoder] from the encoder's own.

    A token's row is the mean of the encoder's word pieces for the same letters; a token that
    continues a word takes the pieces that continue a word.
    """
    embedder = Embedder.load(family)
    pieces = embedder.tokenizer.get_vocab()
    words = embedder.encoder.get_submodule("words")
    table: Tensor = words.get_parameter("weight").detach()
    rows = table.mean(0).repeat(tokenizer.get_vocab_size(), 1)
    for token, index in tokenizer.get_vocab().items():
        text = tokenizer.decode([index])
        ids = embedder.tokenizer.encode(text, add_special_tokens=False).ids
        if not token.startswith("Ġ") and f"##{text.lower()}" in pieces:
            ids = [pieces[f"##{text.lower()}"]]
        if ids:
            rows[index] = table[ids].mean(0)
    return rows
