"""The page that answers, for every port, what its model was trained on; made from the model cards alone."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nextvec.routes import ROUTES, Route
from services.lvm.registry import CLAIMED, ModelCard, ModelError, Source, production

CARD = "card.json"
"""Card of an inverter or corrector, in its folder in the family."""

_PARTS = ("inverter", "corrector")

_BASELINES = {
    "last_chunk": "last chunk",
    "context_mean": "context mean",
    "five_weights": "five weights",
    "ridge": "ridge regression",
}
"""Predictors that need no training worth the name; a metric of one is called `<metric>_<baseline>`."""

_HEAD = """\
# What the models were trained on

Made by `nextvec models document` from the models' own cards; a test fails when this page and the cards
disagree. `nextvec models show NAME` prints a card whole.
"""

_NO_LVM = """\
No model: the vector of the last chunk goes from the encoder straight to the decoder. What the decoder was
trained on is said below."""


def page(models: Path, families: Path) -> str:
    """The page, in Markdown, for the production models and the families' inverters and correctors."""
    sections = [_HEAD, *(_route(models, route) for route in ROUTES), "## What all ports share\n"]
    parts = list(part_cards(families))
    sections += [_part(name, card) for name, card in parts] or ["No inverter or corrector is here yet.\n"]
    return "\n".join(sections)


def part_cards(families: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name, such as "mini/inverter", and card of every inverter and corrector that has one.

    Raises ModelError where a card cannot be read.
    """
    for family in sorted(path.parent for path in families.glob("*/family.json")):
        for part in _PARTS:
            path = family / part / CARD
            if not path.is_file():
                continue
            try:
                card = json.loads(path.read_text(encoding="utf-8"))
                card["sha256"], card["space"], card["parameters"]
                [Source(**source) for source in card.get("trained_on", ())]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{path} is not a card ({error!r}); restore it") from error
            yield f"{family.name}/{part}", card


def _route(models: Path, route: Route) -> str:
    title = f"## Port {route.port}: {route.name}\n"
    if not route.has_lvm:
        return f"{title}\n{_NO_LVM}\n"
    try:
        folder = production(models, route.name)
    except ModelError:
        return f"{title}\nNo model answers here yet.\n"
    card = ModelCard.read(folder)
    facts = {
        "Model": f"`{card.name}`",
        "Architecture": f"`{card.architecture}`, {card.parameters:,} parameters",
        "Space": f"`{card.space}`",
        "SHA-256": f"`{card.sha256}`",
        "Pairs of context and target": f"{card.windows:,}" if card.windows else "not known",
        "Digest of the data": f"`{card.data_sha256}`" if card.data_sha256 else "not known",
    }
    issues = "\n".join(f"- {issue}" for issue in card.known_issues) or "- not stated"
    return "\n".join(
        [
            title,
            _facts(facts),
            "### Training data\n",
            _sources(card.trained_on),
            "### Configuration\n",
            _configuration(card.config),
            "### Metrics\n",
            _metrics(card.metrics),
            f"### Known issues\n\n{issues}\n",
        ]
    )


def _part(name: str, card: Mapping[str, Any]) -> str:
    facts = {
        "Parameters": f"{card['parameters']:,}",
        "Space": f"`{card['space']}`",
        "SHA-256": f"`{card['sha256']}`",
    }
    shown = {"part", "parameters", "space", "sha256", "trained_on", "config", "known_issues", "metrics"}
    rest = {key: value for key, value in card.items() if key not in shown}
    sources = [Source(**source) for source in card.get("trained_on", ())]
    issues = "\n".join(f"- {issue}" for issue in card.get("known_issues", ())) or "- not stated"
    return "\n".join(
        [
            f"### {name}\n",
            _facts(facts),
            "Training data:\n",
            _sources(sources),
            "Configuration and progress:\n",
            _configuration({**card.get("config", {}), **rest}),
            *([f"Metrics:\n\n{_metrics(card['metrics'])}"] if card.get("metrics") else []),
            f"Known issues:\n\n{issues}\n",
        ]
    )


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in facts.items())


def _sources(sources: Iterable[Source]) -> str:
    ordered = sorted(sources, key=lambda source: -source.chunks)
    if not ordered:
        return "Not stated.\n"
    rows = [[s.source, s.licence, f"{s.documents:,}", f"{s.chunks:,}"] for s in ordered]
    total = ["all", "", f"{sum(s.documents for s in ordered):,}", f"{sum(s.chunks for s in ordered):,}"]
    return _table(["source", "licence", "documents", "chunks"], [*rows, total] if len(rows) > 1 else rows)


def _configuration(config: Mapping[str, Any]) -> str:
    if not config:
        return "Not stated.\n"
    return _table(["setting", "value"], [[key, _value(value)] for key, value in _flat(config)])


def _metrics(metrics: Mapping[str, Any]) -> str:
    """One row for the model and one for each baseline that was measured beside it; claims apart."""
    rows: dict[str, dict[str, Any]] = {"this model": {}}
    claims, counts = [], []
    for key, value in _flat(metrics):
        baseline = next((name for name in _BASELINES if key.endswith(f"_{name}")), None)
        if key.startswith(CLAIMED):
            claims.append(f"- {key.removeprefix(CLAIMED)}: {_value(value)}\n")
        elif isinstance(value, int):
            counts.append(f"- {key.replace('_', ' ')}: {value:,}\n")
        elif baseline:
            rows.setdefault(_BASELINES[baseline], {})[key.removesuffix(f"_{baseline}")] = value
        else:
            rows["this model"][key] = value
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    text = ""
    if names:
        cells = [
            [who, *(_value(row[name]) if name in row else "" for name in names)] for who, row in rows.items()
        ]
        text += _table(["", *(name.replace("_", " ") for name in names)], cells) + "\n"
    text += "".join(counts)
    if claims:
        text += "Claimed by the checkpoint that was imported, not measured here:\n\n" + "".join(claims)
    return text or "Not stated.\n"


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
