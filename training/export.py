"""A trained inverter or corrector into its family's folder, in vec2text's format."""

import json
from pathlib import Path

from nextvec import weights
from nextvec.family import Family
from nextvec.weights import Storage
from training.inversion_models import Corrector, Inverter

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
    weights.save(folder / "model.safetensors", state, storage)
    config = {
        "architectures": ["InversionModel" if part == "inverter" else "CorrectorEncoderModel"],
        "max_seq_length": family.token_limit,
        "num_repeat_tokens": model.shape.memory,
        "embedder_model_name": family.name,
        "space": family.space,
        "encoder_decoder": model.encoder_decoder.config.to_diff_dict(),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    record = {
        "part": part,
        "space": family.space,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": weights.sha256(folder / "model.safetensors"),
        **card,
    }
    (folder / "card.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return folder
