"""The encoder against an independent computation with transformers, over the same weights."""

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from nextvec import weights

TEXTS = [
    "The ferry crosses the bay twice a day.",
    "Salt.",
    "Glaciers move: slowly at the bed, faster at the surface, and fastest where the slope is steep.",
    "Ein Fährmann, naïve café, 1817 – 東京!",
    "A clock keeps time because its pendulum swings at a steady rate in still air.",
] * 15  # more than go into one pass


def independent(family, texts):
    """Masked means of layers 1 and 6 side by side, standardised, one text at a time."""
    folder = family.part("encoder")
    bert = BertModel(BertConfig.from_json_file(folder / "config.json"))
    state = {k: torch.from_numpy(v) for k, v in weights.load(family.encoder_weights()).items()}
    bert.load_state_dict({k: v for k, v in state.items() if "position_ids" not in k})
    bert.eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    statistics = weights.load(folder / family.encoder.standardise)
    vectors = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            states = bert(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states
        raw = torch.cat([states[layer][0].mean(0) for layer in (1, 6)]).numpy()
        vectors.append((raw - statistics["mean"]) / statistics["scale"])
    return np.stack(vectors)


def test_vectors_equal_an_independent_masked_mean(engine, family):
    [vectors] = engine.encode([engine.token_ids(TEXTS)])
    wanted = independent(family, TEXTS[:5])
    assert vectors.shape == (75, 768)
    assert vectors.dtype == np.float32
    assert np.abs(vectors[:5] - wanted).max() < 1e-5
    assert np.abs(vectors.reshape(15, 5, 768) - wanted).max() < 1e-5


def test_vectors_are_raw(engine):
    [vectors] = engine.encode([engine.token_ids(TEXTS[:5])])
    norms = np.linalg.norm(vectors, axis=1)
    assert norms.min() > 5
    assert norms.max() / norms.min() > 1.1


def test_batched_is_one_by_one_and_each_request_gets_its_own(engine):
    requests = [engine.token_ids(TEXTS[:2]), engine.token_ids(TEXTS[2:3]), engine.token_ids(TEXTS[3:5])]
    together = engine.encode(requests)
    assert [len(vectors) for vectors in together] == [2, 1, 2]
    for request, vectors in zip(requests, together, strict=True):
        for ids, vector in zip(request, vectors, strict=True):
            assert np.abs(engine.encode([[ids]])[0][0] - vector).max() < 1e-5
