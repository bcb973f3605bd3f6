"""`nextvec keys`: makes, lists and revokes the API keys in a gateway's file."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from nextvec.apikey import token
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.errors import InvalidInput
from nextvec.routes import ROUTES
from nextvec.settings import variable

app = typer.Typer(
    help=f"API keys of a gateway, in the file that {variable('api_keys_file')} names.", no_args_is_help=True
)

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

File = Annotated[Path, typer.Option("--file", dir_okay=False, help="File of keys.")]


@app.command()
def create(
    file: File,
    key_id: Annotated[
        str | None, typer.Option("--id", help="Name in logs and metrics; without, one is drawn.")
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Completions it may ask for; without, any number.")
    ] = None,
    chunks_per_minute: Annotated[
        int | None, typer.Option(help="Chunks it may have generated; without, any number.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(help="Time it holds, such as 90d, 12h or 30m; without, until it is revoked.")
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(help=f"Route it may use, of {', '.join(r.name for r in ROUTES)}; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a key to the file, which is made where there is none, and print the key: it is shown only now.

    A running gateway takes the file over within a second or so.
    """
    from gateway.keys import ApiKey, KeyFile, locked, new_secret

    secret, digest = new_secret()
    try:
        key = ApiKey(
            id=key_id or secrets.token_hex(4),
            sha256=digest,
            requests_per_second=requests_per_second,
            chunks_per_minute=chunks_per_minute,
            expires=_end(expires_in),
            routes=tuple(route) if route else None,
        )
        with locked(file):
            keys = KeyFile.read(file) if file.exists() else KeyFile()
            keys.with_key(key).write(file)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{field}: {message}" if field else message) from None
    if as_json:
        print_json({**_shown(key), "key": token(key.id, secret)})
        return
    out.print(token(key.id, secret), soft_wrap=True)
    err.print(f"[dim]key {key.id} is in {escape(str(file))}; its secret is not, so keep what was printed[/]")


@app.command("list")
def list_keys(file: File, as_json: AsJson = False) -> None:
    """List the keys of the file with their limits. Secrets are not in it."""
    from gateway.keys import KeyFile

    keys = KeyFile.read(file).keys
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    table = Table(title="API keys", title_justify="left")
    for column in ("id", "requests/s", "chunks/min", "routes", "expires"):
        table.add_column(column, overflow="fold")
    for key in keys:
        table.add_row(
            key.id,
            "any" if key.requests_per_second is None else f"{key.requests_per_second:g}",
            "any" if key.chunks_per_minute is None else str(key.chunks_per_minute),
            "all" if key.routes is None else ", ".join(key.routes),
            _expiry(key),
        )
    out.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")],
    file: File,
    as_json: AsJson = False,
) -> None:
    """Take a key out of the file. A running gateway refuses it within a second or so."""
    from gateway.keys import KeyFile, locked

    with locked(file):
        KeyFile.read(file).without(key_id).write(file)
    if as_json:
        print_json({"id": key_id, "revoked": True})
        return
    err.print(f"key {escape(key_id)} is revoked")


def _shown(key: Any) -> dict[str, Any]:
    """A key as --json has it: everything but the digest."""
    return {**key.model_dump(mode="json", exclude={"sha256"}), "expired": key.expired(datetime.now(UTC))}


def _expiry(key: Any) -> str:
    if key.expires is None:
        return "never"
    return f"{key.expires.isoformat()}{' (over)' if key.expired(datetime.now(UTC)) else ''}"


def _end(expires_in: str | None) -> datetime | None:
    if expires_in is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})([dhm])", expires_in)
    if not found:
        raise InvalidInput(f"--expires-in is {expires_in!r}; must be a number and d, h or m, such as 90d")
    span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    return (datetime.now(UTC) + span).replace(microsecond=0)
