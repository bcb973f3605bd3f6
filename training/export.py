"""A trained inverter or corrector into its family's folder, in vec2text's format, and back."""

import json
from pathlib import Path
from typing import Any

import torch

from nextvec import weights
from nextvec.errors import FailedPrecondition
from nextvec.family import Family
from nextvec.weights import Storage
from training.inversion_models import Corrector, InversionShape, Inverter
from training.loop import CHECKPOINT

WEIGHTS, CONFIG, CARD, TOKENIZER = "model.safetensors", "config.json", "card.json", "tokenizer.json"
START = "started_from.json"
"""In a run folder: the card of the part that the training started from."""

# Both are views of the token embeddings; a checkpoint holds the table once.
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def export(
    model: Inverter | Corrector, family: Family, card: dict[str, object], storage: Storage = "int8"
) -> Path:
    """Writes weights, config.json and card.json of a part; returns its folder.

    `card` says what the model was trained on and how, and what it reached.
    """
    part = "inverter" if isinstance(model, Inverter) else "corrector"
    folder = family.part(part)
    state = {
        name: tensor.detach().float().cpu().numpy()
        for name, tensor in model.state_dict().items()
        if not name.removeprefix("encoder_decoder.").startswith(_TIED)
    }
    weights.save(folder / WEIGHTS, state, storage)
    config = {
        "architectures": ["InversionModel" if part == "inverter" else "CorrectorEncoderModel"],
        "max_seq_length": family.token_limit,
        "num_repeat_tokens": model.shape.memory,
        "embedder_model_name": family.name,
        "space": family.space,
        "tokenizer_sha256": weights.sha256(family.part("inverter") / TOKENIZER),
        "encoder_decoder": model.encoder_decoder.config.to_diff_dict(),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    record = {
        "part": part,
        "space": family.space,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": weights.sha256(folder / WEIGHTS),
        **card,
    }
    (folder / CARD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return folder


def exported_inverter(family: Family) -> Inverter:
    """A family's inverter as it is served."""
    folder = family.part("inverter")
    config = _config(folder)
    t5 = config["encoder_decoder"]
    model = Inverter(InversionShape.of(t5, config["num_repeat_tokens"]), t5["vocab_size"])
    _set_weights(model, folder, family)
    return model


def start_from(model: Inverter | Corrector, folder: Path, family: Family, run: Path) -> None:
    """Sets the weights to those of an exported part, whose card is kept in the run folder.

    The card is copied once: a run that is resumed may find its own result in `folder`. Raises
    FailedPrecondition where the part has another tokenizer than the family's, or other sizes.
    """
    _set_weights(model, folder, family)
    record = run / START
    if not record.is_file():
        run.mkdir(parents=True, exist_ok=True)
        record.write_text((folder / CARD).read_text(encoding="utf-8"), encoding="utf-8")


def start_sha256(folder: Path | None, run: Path) -> str | None:
    """SHA-256 of the weights that a run goes on from; None without a folder of them.

    A run that is resumed may find its own result in `folder`: then it is that of what was there before.
    Raises FailedPrecondition where the folder holds no trained model.
    """
    if folder is None:
        return None
    _config(folder)
    record = run / START
    if record.is_file() and (run / CHECKPOINT).is_file():
        begun = json.loads(record.read_text(encoding="utf-8"))
        if json.loads((folder / CARD).read_text(encoding="utf-8")).get("started_from") == begun:
            return str(begun["sha256"])
    return weights.sha256(folder / WEIGHTS)


def _set_weights(model: Inverter | Corrector, folder: Path, family: Family) -> None:
    tokenizer = family.part("inverter") / TOKENIZER
    if _config(folder).get("tokenizer_sha256") != weights.sha256(tokenizer):
        raise FailedPrecondition(
            f"{folder} does not have the tokenizer of {tokenizer}; go on from a model that has it, "
            "or from none"
        )
    state = {name: torch.from_numpy(a) for name, a in weights.load(folder / WEIGHTS).items()}
    own = model.state_dict()
    needed = {name for name in own if not name.removeprefix("encoder_decoder.").startswith(_TIED)}
    if state.keys() != needed or any(own[name].shape != tensor.shape for name, tensor in state.items()):
        raise FailedPrecondition(
            f"{folder} does not have the sizes of the preset; start from nothing, or give the preset "
            "it was trained with"
        )
    model.load_state_dict(state, strict=False)


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        raise FailedPrecondition(f"{folder} holds no trained model: it has no {CONFIG}; train it first")
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config
