"""Trains the corrector of a family: a vector and the inverter's hypothesis → better text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from nextvec import weights
from nextvec.errors import FailedPrecondition
from nextvec.family import Family
from services.families.embedder import Embedder
from training import processes
from training.corpus import encode_texts
from training.export import WEIGHTS, exported_inverter, start_from, start_sha256
from training.inversion_data import Batches, InversionPreset, Pairs, noisy
from training.inversion_models import PAD, Corrector, InversionShape, Inverter
from training.loop import CHECKPOINT, Progress, claim, train

SHARD = 8192  # hypotheses written in one piece


@dataclass(frozen=True)
class CorrectorPreset(InversionPreset):
    """Everything that one training of a corrector is set by."""

    noise: float = 0.02


def write_hypotheses(
    corpus: Path,
    family: Family,
    preset: CorrectorPreset,
    folder: Path,
    device: torch.device,
    batch: int = 256,
) -> Iterator[tuple[int, int]]:
    """The greedy text of the family's inverter for every chunk, and that text's vector, in shards.

    A shard holds `ids` [n, token_limit] int16 beginning with the start token, and `vectors`
    [n, dimensions] float16. Missing shards are written, of several processes each its own; yields the
    rows done and their total. Raises TrainingError where the shards that are there are of another inverter
    or of other chunks.
    """
    tokenizer = _tokenizer(family)
    pairs = Pairs.load(corpus, tokenizer, preset.limit)
    claim(
        folder,
        {
            "inverter": weights.sha256(family.part("inverter") / WEIGHTS),
            "data_sha256": pairs.digest,
            "limit": preset.limit,
            "noise": preset.noise,
        },
    )
    inverter = exported_inverter(family)
    embedder = Embedder.load(family).to(device)
    inverter.to(device).eval()
    for start in range(0, len(pairs), SHARD):
        rows = np.arange(start, min(start + SHARD, len(pairs)))
        path = folder / f"hypotheses-{start:08}.npz"
        own = start // SHARD % processes.count() == processes.rank()
        if own and not path.exists():
            # Batches of about one length end together.
            order = np.argsort(np.diff(pairs.offsets)[rows], kind="stable")
            targets = noisy(pairs.vectors[rows], preset.noise, (start, 0))
            ids = torch.empty(len(rows), family.token_limit, dtype=torch.long)
            for part in np.array_split(order, -(-len(order) // batch)):
                ids[part] = greedy(inverter, targets[part].to(device), family.token_limit).cpu()
            texts = tokenizer.decode_batch(ids.tolist(), skip_special_tokens=True)
            vectors = encode_texts(embedder, [_within(embedder, text, family.token_limit) for text in texts])
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                np.savez(file, ids=ids.numpy().astype(np.int16), vectors=vectors)
            partial.replace(path)
        yield int(rows[-1]) + 1, len(pairs)


def train_corrector(
    corpus: Path,
    family: Family,
    preset: CorrectorPreset,
    folder: Path,
    device: torch.device,
    start: Path | None = None,
) -> Iterator[Progress]:
    """Trains on an encoded corpus and the hypotheses that `write_hypotheses` left in `folder`.

    `start` is the folder of an exported corrector to go on from. Without it, the parts that corrector and
    inverter have in common start from the inverter's weights. Raises TrainingError where the run folder was
    begun with other data, another start or another recipe.
    """
    tokenizer = _tokenizer(family)
    pairs = Pairs.load(corpus, tokenizer, preset.limit)
    claim(
        folder,
        {
            "data_sha256": pairs.digest,
            "start_sha256": start_sha256(start, folder),
            **preset.recipe(),
        },
    )
    shards = [np.load(path) for path in sorted(folder.glob("hypotheses-*.npz"))]
    hypotheses = np.concatenate([shard["ids"] for shard in shards])
    hypothesis_vectors = np.concatenate([shard["vectors"] for shard in shards])
    if len(hypotheses) != len(pairs):
        raise FailedPrecondition(
            f"{folder} has {len(hypotheses)} hypotheses for {len(pairs)} chunks; write them first"
        )
    seed = preset.schedule.seed
    batches = Batches(np.diff(pairs.offsets), preset.batch_tokens, seed)

    def batch_at(step: int) -> dict[str, Tensor]:
        rows = batches.rows(step)
        return {
            "vectors": noisy(pairs.vectors[rows], preset.noise, (seed, step)),
            "hypothesis": torch.from_numpy(hypotheses[rows].astype(np.int64)),
            "hypothesis_vectors": torch.from_numpy(hypothesis_vectors[rows].astype(np.float32)),
            "labels": pairs.labels(rows),
        }

    torch.manual_seed(seed)
    model = Corrector(preset.shape, tokenizer.get_vocab_size())
    if start:
        start_from(model, start, family, folder)
    else:
        model.start_from(exported_inverter(family))
    yield from train(model, batch_at, preset.schedule, folder, device)


def load_corrector(folder: Path, shape: InversionShape, family: Family) -> Corrector:
    """The corrector that `train_corrector` left in a run folder."""
    model = Corrector(shape, _tokenizer(family).get_vocab_size())
    model.load_state_dict(torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)["model"])
    return model


@torch.inference_mode()
def greedy(model: Inverter, vectors: Tensor, limit: int) -> Tensor:
    """vectors [B, dimensions] → token ids [B, limit] from the start token on, padded behind the end."""
    with torch.autocast(vectors.device.type, torch.bfloat16):
        inputs = model.unfold(model.embedding_transform(vectors))
        mask = inputs.new_ones(inputs.shape[:2])
        memory = model.encoder_decoder.encoder(inputs_embeds=inputs, attention_mask=mask)
        ids = model.encoder_decoder.generate(
            encoder_outputs=BaseModelOutput(memory.last_hidden_state),
            attention_mask=mask,
            max_length=limit,
            do_sample=False,
            use_cache=True,
        )
    return torch.nn.functional.pad(ids, (0, limit - ids.shape[1]), value=PAD)


def _tokenizer(family: Family) -> Tokenizer:
    return Tokenizer.from_file(str(family.part("inverter") / "tokenizer.json"))


def _within(embedder: Embedder, text: str, limit: int) -> str:
    """The text, cut where it is over the encoder's limit, as the correction loop cuts its hypotheses."""
    encoding = embedder.tokenizer.encode(text)
    if len(encoding.ids) <= limit:
        return text
    return text[: encoding.offsets[limit - 2][1]]
