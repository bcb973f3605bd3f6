"""`nextvec routes`: what answers on each port, and what it was trained on."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, as_dict, err, out, print_json, with_licence
from nextvec.client import DEFAULT_ADDRESS, Client
from nextvec.errors import NextvecError, StageUnavailable
from nextvec.routes import ROUTES
from nextvec.settings import ClientSettings

Record = dict[str, Any]

_SHOWN = 3
"""Sources of training data that the table names; --json has all of them."""


def routes(
    address: Annotated[
        str | None, typer.Option(help=f"host:port of a gateway; without, {DEFAULT_ADDRESS} or the folders.")
    ] = None,
    offline: Annotated[bool, typer.Option(help="Read the model folders, ask no gateway.")] = False,
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the ports with their models: parameters, training data, health.

    Asks a running gateway; where none runs, reads the model folders, and health is not known.
    """
    folder = artifacts or artifacts_folder()
    records = _from_folders(folder) if offline else _from_gateway(address, folder)
    if as_json:
        print_json(records)
        return
    out.print(_table(records))
    for record in records:
        if record["reason"]:
            out.print(f"[red]{record['route']}[/]: {escape(record['reason'])}", soft_wrap=True)


def _from_gateway(address: str | None, artifacts: Path) -> list[Record]:
    settings = ClientSettings.from_mapping(os.environ)
    try:
        with Client(address or DEFAULT_ADDRESS, tls=settings, key=settings.api_key, timeout=5) as client:
            return [_record(as_dict(route)) for route in client.routes()]
    except StageUnavailable:
        if address:
            raise
        err.print(f"[dim]no gateway at {DEFAULT_ADDRESS}; this is what the model folders say[/]")
        return _from_folders(artifacts)


def _record(route: Record) -> Record:
    """One route of ListRoutes, flat, with whole numbers as such: JSON has 64-bit integers as strings."""
    model: Record = route.get("model") or {}
    return {
        "port": route["port"],
        "route": route["route"],
        "model": model.get("name", ""),
        "architecture": model.get("architecture", ""),
        "parameters": int(model.get("parameters", 0)),
        "space": model.get("space", ""),
        "sha256": model.get("sha256", ""),
        "trained_on": [
            {**source, "documents": int(source["documents"]), "chunks": int(source["chunks"])}
            for source in model.get("trained_on", [])
        ],
        "available": route["available"],
        "healthy": route["healthy"],
        "reason": route["reason"],
    }


def _from_folders(artifacts: Path) -> list[Record]:
    from dataclasses import asdict

    from services.lvm.registry import ModelCard, production

    records = []
    for route in ROUTES:
        model: Record = {}
        reason = ""
        if route.has_lvm:
            try:
                model = asdict(ModelCard.read(production(artifacts / "lvm" / "models", route.name)))
            except NextvecError as error:
                reason = error.message
        record = _record(
            {
                "port": route.port,
                "route": route.name,
                "available": not reason,
                "healthy": None,
                "reason": reason,
            }
            | {"model": model}
        )
        records.append(record)
    return records


def _table(records: list[Record]) -> Table:
    table = Table(title="Routes", title_justify="left")
    table.add_column("port", no_wrap=True)
    table.add_column("route", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column("trained on", ratio=1)
    table.add_column("healthy", no_wrap=True)
    for record in records:
        table.add_row(
            str(record["port"]),
            record["route"],
            record["model"] or "-",
            f"{record['parameters']:,}" if record["parameters"] else "-",
            _training(record),
            _health(record),
        )
    return table


def _training(record: Record) -> str:
    sources = sorted(record["trained_on"], key=lambda source: -source["chunks"])
    if not sources:
        return "no LVM: the last chunk is decoded" if record["route"] == "direct" else "-"
    names = [with_licence(source) for source in sources[:_SHOWN]]
    more = f" and {len(sources) - _SHOWN} more" if len(sources) > _SHOWN else ""
    chunks = sum(source["chunks"] for source in sources)
    documents = sum(source["documents"] for source in sources)
    return f"{chunks:,} chunks of {documents:,} documents: {', '.join(names)}{more}"


def _health(record: Record) -> str:
    if record["healthy"] is None:
        return "not running" if record["available"] else "[red]no model[/]"
    return "[green]yes[/]" if record["healthy"] and record["available"] else "[red]no[/]"
