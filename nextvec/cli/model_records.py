"""What `nextvec models` lists and shows, as records and as tables."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from nextvec.cli.output import with_licence
from nextvec.errors import FailedPrecondition
from services.lvm import registry
from services.lvm.training_data import part_cards

Record = dict[str, Any]

_SHOWN = 2
"""Sources of training data that the table names; --json has all of them."""


def all_records(artifacts: Path) -> tuple[list[Record], list[str]]:
    """One record for every model and every inverter and corrector; and what could not be read, in words."""
    models = artifacts / "lvm" / "models"
    routes = registry.routes_of(models)
    records, problems = [], []
    for folder in registry.folders(models):
        try:
            records.append(_lvm(registry.ModelCard.read(folder), routes.get(folder.name, [])))
        except FailedPrecondition as error:
            problems.append(error.message)
    try:
        for name, card in part_cards(artifacts / "families"):
            records.append(_part(name, card))
    except FailedPrecondition as error:
        problems.append(error.message)
    return records, problems


def one_record(artifacts: Path, name: str) -> Record:
    """The whole card of a model, given by its name, link or route, or of a part such as `mini/inverter`.

    Raises NotFound for a name that is not known.
    """
    parts = dict(part_cards(artifacts / "families"))
    if name in parts:
        return {"name": name, **parts[name]}
    models = artifacts / "lvm" / "models"
    folder = registry.named(models, name)
    routes = registry.routes_of(models).get(folder.name, [])
    past = {route: [asdict(event) for event in registry.history(models, route)] for route in routes}
    card = asdict(registry.ModelCard.read(folder))
    return {"name": card.pop("name"), "routes": routes, **card, "folder": str(folder), "history": past}


def table(records: Iterable[Record]) -> Table:
    """The list for people, two facts above each other so that it fits a terminal."""
    shown = Table(title="Models", title_justify="left", show_lines=True)
    shown.add_column("name\nroutes", no_wrap=True)
    shown.add_column("architecture\nparameters", no_wrap=True)
    shown.add_column("space\nsha256", no_wrap=True)
    shown.add_column("trained on", ratio=1)
    for record in records:
        shown.add_row(
            f"{record['name']}\n{', '.join(record['routes']) or '-'}",
            f"{record['architecture']}\n{record['parameters']:,}",
            f"{record['space']}\n{record['sha256'][:12]}",
            escape(sources_in_short(record["trained_on"])),
        )
    return shown


def card_table(record: Mapping[str, Any]) -> Table:
    """A card for people, one line for each of its fields."""
    shown = Table(show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for key, value in record.items():
        shown.add_row(key.replace("_", " "), escape(_shown(key, value)))
    return shown


def sources_in_short(sources: Iterable[Mapping[str, Any]]) -> str:
    """Training data in a few words, largest first."""
    ordered = sorted(sources, key=lambda source: -source["chunks"])
    if not ordered:
        return "not stated"
    names = ", ".join(with_licence(source) for source in ordered[:_SHOWN])
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return f"{sum(source['chunks'] for source in ordered):,} chunks: {names}{more}"


def _lvm(card: registry.ModelCard, routes: list[str]) -> Record:
    return {
        "name": card.name,
        "part": "lvm",
        "route": routes[0] if routes else None,
        "routes": routes,
        "architecture": card.architecture,
        "parameters": card.parameters,
        "space": card.space,
        "sha256": card.sha256,
        "trained_on": [asdict(source) for source in card.trained_on],
    }


def _part(name: str, card: Mapping[str, Any]) -> Record:
    part = name.rpartition("/")[2]
    return {
        "name": name,
        "part": part,
        "route": None,
        "routes": [],
        "architecture": part,
        "parameters": card["parameters"],
        "space": card["space"],
        "sha256": card["sha256"],
        "trained_on": list(card.get("trained_on", [])),
    }


def _shown(key: str, value: Any) -> str:
    if key == "trained_on":
        return "\n".join(
            f"{with_licence(s)}: {s['documents']:,} documents, {s['chunks']:,} chunks" for s in value
        )
    if key == "history":
        return "\n".join(
            f"{event['at']} {event['action']} to {route}, before: {event['previous'] or 'none'}"
            for route, events in value.items()
            for event in events
        )
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_shown('', inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value)) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
