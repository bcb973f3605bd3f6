"""The folder of trained models, and the links that say which one answers each route.

    artifacts/lvm/models/amn_20260131_120000/{model.safetensors, probe.safetensors, model.json}
    artifacts/lvm/models/amn_v0 -> amn_20260131_120000

A model's folder never changes once it has its name; promoting another model swaps a link.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nextvec.errors import FailedPrecondition, UnknownRoute
from nextvec.routes import ROUTES, route_named

MODELS = Path("artifacts") / "lvm" / "models"
CARD = "model.json"
WEIGHTS = "model.safetensors"
PROBE = "probe.safetensors"


class ModelError(FailedPrecondition):
    """A model is missing, corrupt or not what its card says; the message names the remedy."""


@dataclass(frozen=True)
class Source:
    """One source of training data, and how much of it was used."""

    source: str
    licence: str
    documents: int
    chunks: int


@dataclass(frozen=True)
class ModelCard:
    """What is known about one model; `model.json` on disk."""

    architecture: str  # a module of services/lvm/models
    hyperparameters: Mapping[str, Any]
    space: str  # of the vectors it reads and predicts
    trained_on: tuple[Source, ...]
    data_sha256: str  # of the encoded corpus
    windows: int  # context and target pairs it was trained on
    config: Mapping[str, Any]  # the training's settings
    known_issues: tuple[str, ...] = ()
    # Filled in when the model is saved.
    name: str = ""  # of its folder: name and timestamp
    parameters: int = 0
    sha256: str = ""  # of model.safetensors
    metrics: Mapping[str, float] = field(default_factory=dict)  # on held-out documents, beside baselines

    @property
    def id(self) -> str:
        """The name and the first digits of the digest, as answers carry it."""
        return f"{self.name}@{self.sha256[:12]}"

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Reads a model folder's card; raises ModelError where there is none or it is not readable."""
        path = folder / CARD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            sources = tuple(Source(**source) for source in record.pop("trained_on"))
            issues = tuple(record.pop("known_issues"))
            card = cls(trained_on=sources, known_issues=issues, **record)
        except FileNotFoundError:
            raise ModelError(f"{path} is missing; restore it or train the model again") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} is not a model card ({error!r}); restore it") from error
        if not sources:
            raise ModelError(f"{path} does not say what the model was trained on; a model without is not run")
        return card

    def write(self, folder: Path) -> None:
        """Writes the card into a model's folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / CARD).write_text(text + "\n", encoding="utf-8")


def production(models: Path, route: str) -> Path:
    """Folder of the model that answers `route`, links followed.

    Raises UnknownRoute for a route that is not in the table or has no LVM, ModelError where no model
    answers it.
    """
    link = route_named(route).link
    if not link:
        with_model = ", ".join(r.name for r in ROUTES if r.has_lvm)
        raise UnknownRoute(f"route {route!r} has no LVM; have {with_model}")
    folder = models / link
    if not folder.is_dir():
        raise ModelError(
            f"no model answers route {route!r}: {folder} is missing; train one and promote it to {link}"
        )
    return folder.resolve()


def promote(folder: Path, route: str) -> None:
    """Makes a model the one that answers `route`, by swapping the link in its parent folder atomically.

    Raises ModelError where the folder holds no readable model card.
    """
    ModelCard.read(folder)
    link = folder.parent / route_named(route).link
    # A link cannot be overwritten, but a finished one can be renamed over it.
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.replace(link)


def cards(models: Path) -> list[ModelCard]:
    """Cards of all models, production or not, sorted by name."""
    folders = sorted(path.parent for path in models.glob(f"*/{CARD}") if not path.parent.is_symlink())
    return [ModelCard.read(folder) for folder in folders if not folder.name.startswith(".")]
