"""What is recorded with a trained inverter or corrector: its data, its settings, how far it came."""

from dataclasses import asdict
from pathlib import Path

from training.corrector import CorrectorPreset
from training.inverter import InverterPreset
from training.loop import Progress
from training.sequences import Sequences


def inversion_card(
    corpus: Path, preset: InverterPreset | CorrectorPreset, last: Progress | None
) -> dict[str, object]:
    """Sources with licences and counts, the data's digest, the preset, and the last step and loss."""
    data = Sequences.load(corpus, mapped=True)
    return {
        "trained_on": [
            {"source": origin.source, "licence": origin.licence, "documents": documents, "chunks": chunks}
            for origin, documents, chunks in data.sources()
        ],
        "data_sha256": data.digest,
        "config": asdict(preset),
        "steps": last.step if last else None,
        "loss": round(last.loss, 4) if last else None,
    }
