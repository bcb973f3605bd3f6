"""Chunks a second of the encoder stage's engine, against transformers' BertModel on the same weights."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Options, Spread, interleaved, speedup
from benchmarks.results import Result, figure
from benchmarks.texts import sentences
from nextvec import weights
from nextvec.errors import StartupError
from nextvec.family import Family
from services.encoder.engine import EncoderEngine
from services.families.embedder import Embedder

Rows = Callable[[int], list[list[int]]]

_BATCHES = (1, 8, 32)
_ROUNDS = 60


def run(options: Options) -> list[Result]:
    """Batches of sentences of mixed lengths, as requests bring them; tokenising is left out on both sides."""
    family = Family.open(options.family, options.artifacts / "families")
    if family.encoder.architecture != "bert":
        raise StartupError(
            f"the encoder of family {family.name!r} is {family.encoder.architecture}; "
            "there is a reference for bert alone"
        )
    embedder, reference = Embedder.load(family).made_fast(), _reference(family)
    engine = EncoderEngine(embedder)
    tokens = engine.token_ids(sentences(options.artifacts, family, 320))
    results = []
    for batch in _BATCHES:
        options.say(f"encode: batch {batch}")

        def rows(turn: int, batch: int = batch) -> list[list[int]]:
            return [tokens[(turn * batch + row) % len(tokens)] for row in range(batch)]

        def theirs(turn: int, rows: Rows = rows) -> Tensor:
            return _embed(reference, embedder, rows(turn))

        def ours(turn: int, rows: Rows = rows) -> object:
            return engine.encode([rows(turn)])

        seconds = interleaved(
            {"transformers": theirs, "ours": ours},
            options.rounds(_ROUNDS),
        )
        for side, found in seconds.items():
            what = f"batch {batch}: {side}"
            rate = Spread.of(found).inverse(batch)
            results.append(figure(f"encode_batch{batch}_{side}", "encode", what, rate, "chunks/s"))
        ratio = speedup(seconds["transformers"], seconds["ours"])
        what = f"batch {batch}: transformers / ours"
        results.append(figure(f"encode_batch{batch}_speedup", "encode", what, ratio, "×"))
    return results


@torch.inference_mode()
def _embed(model: Any, embedder: Embedder, rows: list[list[int]]) -> Tensor:
    """The family's recipe on transformers' hidden states, as its user would write it."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    keep = mask[..., None].float()
    means = [(states[layer] * keep).sum(1) / keep.sum(1) for layer in embedder.layers]
    return (torch.cat(means, dim=1) - embedder.mean) / embedder.scale


def _reference(family: Family) -> Any:
    from transformers import BertConfig, BertModel

    config = json.loads((family.part("encoder") / "config.json").read_text(encoding="utf-8"))
    model: Any = BertModel(BertConfig(**config), add_pooling_layer=False)
    state = {name: torch.from_numpy(array) for name, array in weights.load(family.encoder_weights()).items()}
    # strict=False: published weights have a pooler, and position ids that are no parameters any more.
    missing = model.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise StartupError(f"transformers' BertModel needs {missing[0]}, which the encoder does not have")
    return model.eval()
