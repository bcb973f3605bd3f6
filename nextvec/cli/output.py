"""What commands print: results on stdout, progress and remarks on stderr, JSON where asked for."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

_PIPED_WIDTH = 120
"""Columns of a table that goes to a file or a pipe, which has no width of its own."""

out = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH)
"""Results; what a user may pipe on."""

err = Console(stderr=True, highlight=False)
"""Progress and remarks."""


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Prints JSON as it is: no colours, no wrapping; on one line where `indent` is None."""
    print(json.dumps(value, ensure_ascii=False, indent=indent), flush=True)


def with_licence(source: Mapping[str, Any]) -> str:
    """A source of training data with its licence; a user's own folder has none."""
    return f"{source['source']} ({source['licence']})" if source["licence"] else str(source["source"])


def as_dict(message: Message) -> dict[str, Any]:
    """A message as JSON has it: names as in the protocol, fields at their default included."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
