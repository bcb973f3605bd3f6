"""A family with weights drawn at random, in the size of the public checkpoints or in any other.

Time per text depends on the size of the weights alone, once all texts have one length. So the end token is
made the likeliest nowhere, and every text goes to the limit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import T5Config, T5EncoderModel

from nextvec import weights
from nextvec.family import Family
from training.inversion_models import EOS, Corrector, InversionShape, Inverter

T5_BASE = InversionShape(
    width=768, feed_forward=3072, heads=12, encoder_layers=12, decoder_layers=12, memory=16
)
T5_VOCABULARY = 32_128

LIMIT = 32
"""Tokens of a text, as the public checkpoints have it."""


def write_random_family(
    folder: Path, shape: InversionShape = T5_BASE, vocabulary: int = T5_VOCABULARY, limit: int = LIMIT
) -> Family:
    """Writes encoder, inverter and corrector of one size, in the public checkpoints' format.

    At T5-base size these are 2.4 GB of files, which is also about what each engine on them needs.
    """
    torch.manual_seed(0)
    encoder = folder / "encoder"
    _write_encoder(encoder, shape, vocabulary)
    record = {
        "name": "random",
        "dimensions": shape.dimensions,
        "token_limit": limit,
        "encoder": {
            "architecture": "t5",
            "layers": [-1],
            "sha256": weights.sha256(encoder / "model.safetensors"),
        },
    }
    (folder / "family.json").write_text(json.dumps(record))
    _write_inversion(folder / "inverter", Inverter(shape, vocabulary), limit)
    _write_inversion(folder / "corrector", Corrector(shape, vocabulary), limit)
    return Family.open(folder)


def decoder_weights(state: Mapping[str, torch.Tensor]) -> int:
    """Weights that a decoder pass reads, of a T5's under published names.

    Keys and values of the encoder's states are computed once a text, and one row of the token embeddings is
    read a token; the whole of that table is read as the output layer.
    """
    once = ("EncDecAttention.k.", "EncDecAttention.v.", "embed_tokens")
    body = sum(
        tensor.numel()
        for name, tensor in state.items()
        if name.startswith("decoder.") and not any(part in name for part in once)
    )
    return body + state.get("lm_head.weight", state["shared.weight"]).numel()


def _write_encoder(folder: Path, shape: InversionShape, vocabulary: int) -> None:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=shape.dimensions,
        d_kv=shape.width // shape.heads,
        d_ff=shape.feed_forward,
        num_heads=shape.heads,
        num_layers=shape.encoder_layers,
    )
    encoder: Any = T5EncoderModel(config)  # Any: transformers' lazy imports hide its types
    _save(folder, encoder.state_dict())
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["T5EncoderModel"]}))
    # One word a token, so that a text of 31 tokens reads as 31 tokens again.
    words = {"<pad>": 0, "</s>": EOS} | {f"w{index}": index for index in range(2, vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    tokenizer.save(str(folder / "tokenizer.json"))


def _write_inversion(folder: Path, model: nn.Module, limit: int) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("shared.weight"):
                parameter.mul_(0.2)  # otherwise the tied output layer repeats the last token for ever
                parameter[EOS] = 0  # a logit of 0, which the largest of thousands always exceeds
            elif name.endswith(("q.weight", "wi.weight", "wo.weight", "v.weight", "o.weight")):
                parameter.mul_(2)  # so that a text depends on its vector
            elif "embedding_transform" in name and name.endswith("weight"):
                parameter.mul_(8)
    _save(folder, model.state_dict())
    (folder / "config.json").write_text(json.dumps({"max_seq_length": limit}))


def _save(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Tied tensors are written once, under `shared`."""
    arrays = {
        name: tensor.numpy()
        for name, tensor in state.items()
        if not name.endswith(("embed_tokens.weight", "lm_head.weight"))
    }
    weights.save(folder / "model.safetensors", arrays, "float32")
