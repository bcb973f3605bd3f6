"""The folder of trained models, and the links that say which one answers each route.

    artifacts/lvm/models/amn_20260131_120000/{model.safetensors, probe.safetensors, model.json}
    artifacts/lvm/models/amn_v0 -> amn_20260131_120000
    artifacts/lvm/models/amn_v0.history.jsonl

A model's folder never changes once it has its name; promoting another model swaps a link and adds a line to
the history beside it. A model that was replaced stays where it is, under its timestamp.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextvec.errors import FailedPrecondition, NotFound, UnknownRoute, WrongSpace
from nextvec.routes import ROUTES, route_named

MODELS = Path("artifacts") / "lvm" / "models"
CARD = "model.json"
WEIGHTS = "model.safetensors"
PROBE = "probe.safetensors"

CLAIMED = "claimed_"
"""Before the name of every metric that came with an imported model and that nobody here has measured."""

ARCHITECTURE_OF = {
    "amn": "amn",
    "transformer": "transformer",
    "gru": "gru",
    "lstm": "lstm",
    "transformer-optimized": "transformer",
}
"""Architecture of every route with a model: who asks a port for it must not be answered by another."""


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


@dataclass(frozen=True)
class Event:
    """One line of a route's history."""

    at: str  # UTC, ISO 8601
    action: str  # "promote" or "rollback"
    model: str  # that answers from then on
    previous: str | None  # that answered before


def production(models: Path, route: str) -> Path:
    """Folder of the model that answers `route`, links followed.

    Raises UnknownRoute for a route that is not in the table or has no LVM, ModelError where no model
    answers it.
    """
    link = _link(models, route)
    if not link.is_dir():
        raise ModelError(
            f"no model answers route {route!r}: {link} is missing; train one and promote it to {link.name}"
        )
    return link.resolve()


def promote(folder: Path, route: str, space: str | None = None) -> None:
    """Makes a model the one that answers `route`, by swapping the link in its parent folder atomically.

    The history says what answered before; promoting what already answers changes nothing. `space` is that
    of the family that is served, None for any. Raises ModelError where the folder holds no readable card or
    a model of another architecture than the route's, WrongSpace for a model of another space.
    """
    folder = folder.resolve()
    link = _link(folder.parent, route)
    _require_fit(ModelCard.read(folder), route, space)
    with _locked(folder.parent):
        _exchange(link, folder.name, "promote")


def rollback(models: Path, route: str, space: str | None = None) -> Path:
    """Makes the model answer `route` that did before the last promotion; returns its folder.

    Repeated, it goes back promotion by promotion. Raises as `promote` does, and ModelError where the history
    knows of no earlier model or its folder has gone.
    """
    link = _link(models, route)
    with _locked(models):
        folder = before(models, route)
        _require_fit(ModelCard.read(folder), route, space)
        _exchange(link, folder.name, "rollback")
    return folder


def before(models: Path, route: str) -> Path:
    """Folder of the model that a rollback of `route` would bring back; raises ModelError if none is known."""
    current = _answering(_link(models, route))
    answered: list[str] = []
    for event in history(models, route):
        if event.action == "rollback":
            answered = _settled(answered, event.model)
        else:
            answered = [*_settled(answered, event.previous), event.model]
    answered = _settled(answered, current)
    if len(answered) < 2:
        raise ModelError(
            f"route {route!r} has been answered by {current or 'no model'} alone; "
            "there is nothing to go back to"
        )
    return models / answered[-2]


def history(models: Path, route: str) -> list[Event]:
    """What was promoted to `route` and rolled back, oldest first; raises ModelError if unreadable."""
    path = _history_file(_link(models, route))
    if not path.is_file():
        return []
    try:
        return [Event(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is not a history of promotions ({error!r}); restore it") from error


def routes_of(models: Path) -> dict[str, list[str]]:
    """Names of the routes that each model answers, by the model's name."""
    found: dict[str, list[str]] = {}
    for route in ARCHITECTURE_OF:
        link = _link(models, route)
        if link.is_dir():
            found.setdefault(link.resolve().name, []).append(route)
    return found


def folders(models: Path) -> list[Path]:
    """Folders of all models, production or not, sorted by name."""
    found = (path.parent for path in models.glob(f"*/{CARD}"))
    return sorted(path for path in found if not path.is_symlink() and not path.name.startswith("."))


def named(models: Path, name: str) -> Path:
    """Folder of a model by its name or path, by the link to it, or by the route it answers.

    Raises NotFound, listing the known ones.
    """
    if name in ARCHITECTURE_OF:
        return production(models, name)
    known = folders(models)
    links = {_link(models, route).name: route for route in ARCHITECTURE_OF}
    if name in links:
        return production(models, links[name])
    for folder in known:
        if name == folder.name or Path(name).resolve() == folder.resolve():
            return folder
    have = ", ".join(folder.name for folder in known) or "none"
    raise NotFound(f"no model {name!r} in {models}; have {have}")


def cards(models: Path) -> list[ModelCard]:
    """Cards of all models, production or not, sorted by name."""
    return [ModelCard.read(folder) for folder in folders(models)]


def _require_fit(card: ModelCard, route: str, space: str | None) -> None:
    expected = ARCHITECTURE_OF[route]
    if card.architecture != expected:
        raise ModelError(
            f"model {card.name!r} is of architecture {card.architecture!r}; "
            f"route {route!r} is answered by {expected!r}"
        )
    if space is not None and card.space != space:
        raise WrongSpace(
            f"model {card.name!r} is for space {card.space!r}; the family that is served has {space!r}: "
            "promote a model trained on that family's vectors"
        )


def _exchange(link: Path, name: str, action: str) -> None:
    previous = _answering(link)
    if previous == name:
        return
    # A link cannot be overwritten, but a finished one can be renamed over it.
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.replace(link)
    event = Event(datetime.now(UTC).isoformat(timespec="seconds"), action, name, previous)
    # The link comes first: a line that is missing can be told from the link, one too many can not.
    with _history_file(link).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(event)) + "\n")


def _settled(answered: list[str], model: str | None) -> list[str]:
    """What has answered, up to the model that is known to answer last; one that has before was brought back.

    A link set by hand, or a process killed before it wrote its line, leaves a gap that this closes.
    """
    if model not in answered:
        return [*answered, model] if model else answered
    return answered[: len(answered) - answered[::-1].index(model)]


def _answering(link: Path) -> str | None:
    """Name of the model that a link leads to, even where its folder has gone; None without a link."""
    return link.readlink().name if link.is_symlink() else None


def _link(models: Path, route: str) -> Path:
    link = route_named(route).link
    if not link:
        with_model = ", ".join(r.name for r in ROUTES if r.has_lvm)
        raise UnknownRoute(f"route {route!r} has no LVM; have {with_model}")
    return models / link


def _history_file(link: Path) -> Path:
    return link.with_name(f"{link.name}.history.jsonl")


@contextmanager
def _locked(models: Path) -> Iterator[None]:
    """One promotion at a time, between processes as well; the folder itself is the lock."""
    handle = os.open(models, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
