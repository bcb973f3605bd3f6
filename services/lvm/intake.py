"""Models made elsewhere into the registry: never without provenance, never without having been run."""

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.lvm import checkpoint
from services.lvm.registry import CARD, PROBE, WEIGHTS, ModelCard, ModelError, Source

NONE_KNOWN = "none known"
"""What a card says whose model has no known issue; saying nothing is not the same."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*_\d{8}_\d{6}")
_FILES = (WEIGHTS, PROBE, CARD)


def register(source: Path, models: Path) -> Path:
    """Copies a model's folder into the registry under the name on its card; returns its folder there.

    The copy is loaded, which recomputes its golden probe, before it gets its name. Raises ModelError where
    the card lacks provenance or has a name that is no model's or is taken, and as `checkpoint.load` does.
    """
    card = ModelCard.read(source)
    require_provenance(card)
    if not _NAME.fullmatch(card.name):
        raise ModelError(
            f"{source / CARD} names the model {card.name!r}; must be a name and a timestamp, "
            "such as amn_20260131_120000"
        )
    folder = models / card.name
    if folder.exists():
        raise ModelError(f"model {card.name!r} is registered already; a model's folder is written once")
    draft = models / f".{card.name}.{os.getpid()}"
    draft.mkdir(parents=True)
    try:
        for name in _FILES:
            if not (source / name).is_file():
                raise ModelError(f"{source / name} is missing; a model's folder holds {', '.join(_FILES)}")
            shutil.copyfile(source / name, draft / name)
        checkpoint.load(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def require_provenance(card: ModelCard) -> None:
    """Raises ModelError, naming all that is missing, unless the card says where its model comes from."""
    missing = list(_missing(card))
    if missing:
        raise ModelError(f"the card of model {card.name!r} does not say {'; '.join(missing)}")


def _missing(card: ModelCard) -> Iterator[str]:
    yield from unsaid_of_data(card.trained_on)
    if not card.config:
        yield "how it was trained (config)"
    figures = [value for value in card.metrics.values() if isinstance(value, int | float)]
    if not figures or not all(map(math.isfinite, figures)):
        yield "how good it is (metrics, finite numbers)"
    yield from unsaid_of_faults(card.known_issues)


def unsaid_of_data(trained_on: Sequence[Source]) -> Iterator[str]:
    """What a card must say of its model's training data, and does not."""
    if not trained_on:
        yield "what it was trained on (trained_on)"
    for number, source in enumerate(trained_on):
        for field in ("source", "licence"):
            value = getattr(source, field)
            if not (isinstance(value, str) and value.strip()):
                yield f"the {field} of its training data (trained_on[{number}].{field})"
        for field in ("documents", "chunks"):
            value = getattr(source, field)
            if not (isinstance(value, int) and value > 0):
                yield f"how many {field} it was trained on (trained_on[{number}].{field})"


def unsaid_of_faults(known_issues: Sequence[str]) -> Iterator[str]:
    """What a card must say of what is wrong with its model, and does not."""
    if not [issue for issue in known_issues if str(issue).strip()]:
        yield f"what is wrong with it (known_issues; '{NONE_KNOWN}' where nothing is)"
