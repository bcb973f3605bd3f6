"""A toy family in the format of the public checkpoints: random weights, a few dimensions, real files."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import T5Config, T5ForConditionalGeneration

from nextvec import weights
from nextvec.family import Family
from training.inversion_models import Corrector, InversionShape, Inverter
from training.tokenizer import train_tokenizer

SENTENCES = [
    "The ferry crosses the bay twice a day, in summer and in winter.",
    "A clock keeps time because its pendulum swings at a steady rate.",
    "Bread rises when yeast turns sugar into gas.",
    "Canals lift boats from one level to the next.",
    "Salt was once worth its weight in silver.",
    "Bees dance.",
]
SHAPE = InversionShape(width=32, feed_forward=64, heads=4, encoder_layers=2, decoder_layers=2, memory=3)


def toy_family(root: Path, *, limit: int = 20, shards: bool = False) -> Family:
    """Writes a family called `toy` under `root`: a T5 embedder as gtr's, an inverter and a corrector."""
    folder = root / "families" / "toy"
    torch.manual_seed(11)
    tokenizer = train_tokenizer(SENTENCES, 300)
    write_embedder(folder / "encoder", tokenizer)
    record = {
        "name": "toy",
        "dimensions": 768,
        "token_limit": limit,
        "encoder": {
            "architecture": "t5",
            "layers": [-1],
            "sha256": weights.sha256(folder / "encoder" / "model.safetensors"),
        },
    }
    (folder / "family.json").write_text(json.dumps(record))
    for kind, model, seed in (("inverter", Inverter, 4), ("corrector", Corrector, 2)):
        torch.manual_seed(seed)
        write_inversion(folder / kind, model(SHAPE, tokenizer.get_vocab_size()), limit, shards)
    return Family.open(folder)


def write_embedder(folder: Path, tokenizer: Tokenizer) -> None:
    """A T5 as sentence-transformers/gtr-t5-base has it, one layer deep, whose vectors tell texts apart."""
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(), d_model=768, d_kv=8, d_ff=32, num_heads=2, num_layers=1
    )
    state = T5ForConditionalGeneration(config).state_dict()
    kept = {k: v for k, v in state.items() if k == "shared.weight" or k.startswith("encoder.")}
    weights.save(folder / "model.safetensors", {k: v.numpy() for k, v in kept.items()}, "float32")
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["T5EncoderModel"]}))
    tokenizer.save(str(folder / "tokenizer.json"))


def write_inversion(folder: Path, model: torch.nn.Module, limit: int, shards: bool = False) -> None:
    """A checkpoint with all that the public ones have, embedder included, made to write varied texts."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("shared.weight"):
                parameter.mul_(0.2)  # otherwise the tied output layer repeats the last token for ever
                parameter[1].mul_(5)  # so that some texts end before the limit
            elif name.endswith(("q.weight", "wi.weight", "wo.weight", "v.weight", "o.weight")):
                parameter.mul_(2)
            elif "embedding_transform" in name and name.endswith("weight"):
                parameter.mul_(8)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    arrays["embedder.shared.weight"] = torch.zeros(4, 4).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    if shards:
        names = sorted(arrays)
        parts = {
            "model-00001-of-00002.safetensors": names[::2],
            "model-00002-of-00002.safetensors": names[1::2],
        }
        for file, part in parts.items():
            weights.save(folder / file, {name: arrays[name] for name in part}, "float32")
        index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        weights.save(folder / "model.safetensors", arrays, "float32")
    config = {"model_name_or_path": "t5-base", "num_repeat_tokens": SHAPE.memory, "max_seq_length": limit}
    (folder / "config.json").write_text(json.dumps({**config, "embedder_model_name": "gtr_base"}))
