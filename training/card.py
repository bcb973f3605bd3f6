"""What is recorded with a trained inverter or corrector: its data, its settings, how far it came."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from training.export import START
from training.inversion_data import InversionPreset
from training.loop import CHECKPOINT
from training.sequences import Sequences


def inversion_card(
    corpus: Path,
    preset: InversionPreset,
    run: Path,
    known_issues: Sequence[str],
) -> dict[str, object]:
    """Sources with licences and counts, the digest of the data, the preset, the length of the training.

    Where the training went on from another model, that one's card is part of it.
    """
    data = Sequences.load(corpus, limit=preset.limit, mapped=True)
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)
    start = run / START
    return {
        "trained_on": [
            {"source": origin.source, "licence": origin.licence, "documents": documents, "chunks": chunks}
            for origin, documents, chunks in data.sources()
        ],
        "data_sha256": data.digest,
        "config": asdict(preset),
        "steps": state["step"],
        "seconds": round(state["elapsed"]),
        "known_issues": list(known_issues),
        "started_from": json.loads(start.read_text(encoding="utf-8")) if start.is_file() else None,
    }
