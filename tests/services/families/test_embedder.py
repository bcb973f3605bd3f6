"""Embedders in the formats of the public encoders, and encoders that must not be taken."""

import json

import numpy as np
import pytest
import torch
from transformers import T5Config, T5EncoderModel

from nextvec import weights
from nextvec.family import Family, FamilyError
from services.families.embedder import Embedder
from training.tokenizer import train_tokenizer

torch.set_num_threads(1)

TEXTS = ["The ferry crosses the bay.", "Salt.", "Bees dance in the meadow, and the others follow."]


def write(root, recipe):
    folder = root / "families" / "toy"
    tokenizer = train_tokenizer(TEXTS, 280)
    torch.manual_seed(2)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(), d_model=768, d_kv=8, d_ff=32, num_heads=2, num_layers=2
    )
    model = T5EncoderModel(config).eval()
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    weights.save(folder / "encoder" / "model.safetensors", arrays, "float32")
    (folder / "encoder" / "config.json").write_text(json.dumps(config.to_dict()))
    tokenizer.save(str(folder / "encoder" / "tokenizer.json"))
    record = {"name": "toy", "dimensions": 768, "token_limit": 32, "encoder": recipe}
    (folder / "family.json").write_text(json.dumps(record))
    return Family.open(folder), model, tokenizer


def test_a_t5_embedder_is_the_masked_mean_of_the_last_layer_end_token_included(tmp_path):
    family, model, tokenizer = write(tmp_path, {"architecture": "t5", "layers": [-1]})
    embedder = Embedder.load(family)
    with torch.inference_mode():
        vectors = embedder.embed(embedder.token_ids(TEXTS)).numpy()
        wanted = []
        for text in TEXTS:
            ids = torch.tensor([tokenizer.encode(text).ids])
            assert ids[0, -1] == 1
            wanted.append(model(input_ids=ids).last_hidden_state[0].mean(0).numpy())
    assert np.abs(vectors - np.stack(wanted)).max() < 1e-5


def test_an_encoder_of_another_architecture_is_refused(tmp_path):
    family, _, _ = write(tmp_path, {"architecture": "t5", "layers": [-1]})
    file = family.part("encoder") / "model.safetensors"
    arrays = weights.load(file)
    weights.save(
        file, {name.replace("SelfAttention", "attention"): a for name, a in arrays.items()}, "float32"
    )
    with pytest.raises(FamilyError, match=r"not T5's: .*relative_attention_bias.* is missing"):
        Embedder.load(family)


def test_an_unknown_architecture_is_refused_and_the_known_ones_are_named(tmp_path):
    family, _, _ = write(tmp_path, {"architecture": "gpt", "layers": [-1]})
    with pytest.raises(FamilyError, match="'gpt'; have bert, t5"):
        Embedder.load(family)


def test_weights_with_another_digest_are_refused(tmp_path):
    family, _, _ = write(tmp_path, {"architecture": "t5", "layers": [-1], "sha256": "0" * 64})
    with pytest.raises(FamilyError, match=r"has SHA-256 .* needs 0000"):
        Embedder.load(family)


def test_a_fast_embedder_gives_the_same_vectors(tmp_path):
    family, _, _ = write(tmp_path, {"architecture": "t5", "layers": [-1]})
    plain, fast = Embedder.load(family), Embedder.load(family).made_fast()
    ids = plain.token_ids(TEXTS)
    with torch.inference_mode():
        torch.testing.assert_close(fast.embed(ids), plain.embed(ids), rtol=1e-4, atol=1e-5)
