"""`nextvec complete`: a text goes in, the text that comes next goes out."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from nextvec.cli.output import AsJson, as_dict, err, out, print_json
from nextvec.client import Client
from nextvec.errors import InternalError, InvalidInput
from nextvec.routes import ROUTES, route_named
from nextvec.settings import ClientSettings
from nextvec.v1.gateway_pb2 import Chunk, CompleteResponse, ContextSource, GenerateResponse

_NAMES = ", ".join(route.name for route in ROUTES)


def complete(
    text: Annotated[
        str | None, typer.Argument(help="The text so far; without, it is read from --file or stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File that holds the text so far.")
    ] = None,
    route: Annotated[str | None, typer.Option(help=f"Route: {_NAMES}.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Gateway port; without, the route's own.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="host:port of the gateway.")] = None,
    chunks: Annotated[int, typer.Option(min=1, help="Chunks to write.")] = 1,
    policy: Annotated[str, typer.Option(help="Snap policy: barycentre or medoid.")] = "",
    rungs: Annotated[
        str, typer.Option(help="Correction steps of each rung of the ladder, such as 1,3,5.")
    ] = "",
    bypass_cache: Annotated[bool, typer.Option(help="Leave the decoder's cache alone.")] = False,
    stream: Annotated[bool, typer.Option(help="Print each hypothesis as it forms.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds; without, the gateway's own budget.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a text by one chunk, or by several.

    The text is printed on stdout, how it came about on stderr. With --json the whole response is printed,
    with --stream --json one event a line.
    """
    paragraph = _read(text, file)
    options = {
        "chunks": chunks,
        "route": route or "",
        "snap_policy": policy,
        "rungs": _steps(rungs),
        "bypass_cache": bypass_cache,
    }
    where = address or f"localhost:{port or route_named(route or ROUTES[0].name).port}"
    settings = ClientSettings.from_mapping(os.environ)
    with Client(where, tls=settings, key=settings.api_key, timeout=timeout) as client:
        if stream:
            response = _stream(client, paragraph, options, as_json)
        else:
            response = client.complete(paragraph, **options).response
            if as_json:
                print_json(as_dict(response))
            else:
                for chunk in response.chunks:
                    out.print(escape(chunk.text), soft_wrap=True)
    if not as_json:
        _explain(response)


def _stream(client: Client, text: str, options: dict[str, Any], as_json: bool) -> CompleteResponse:
    response = None
    for event in client.generate(text, **options):
        if event.HasField("complete"):
            response = event.complete
        if as_json:
            print_json(as_dict(event), indent=None)
        else:
            _show(event)
    if response is None:
        raise InternalError("the gateway ended the stream without a completion")
    return response


def _show(event: GenerateResponse) -> None:
    if event.HasField("hypothesis"):
        formed = event.hypothesis.hypothesis
        err.print(
            f"[dim]step {formed.step}  cosine {formed.cosine:.2f}  {escape(formed.text)}[/]", soft_wrap=True
        )
    elif event.HasField("chunk"):
        out.print(escape(event.chunk.text), soft_wrap=True)


def _explain(response: CompleteResponse) -> None:
    for chunk in response.chunks:
        err.print(
            f"[dim]{response.route}, chunk {chunk.index + 1}: {origin(chunk)}, {_times(chunk)}[/]",
            soft_wrap=True,
        )
    source = ContextSource.Name(response.context.source).removeprefix("CONTEXT_SOURCE_").lower()
    err.print(
        f"[dim]context {source}, {response.context.own} of {len(response.context.texts)} chunks your own; "
        f"{response.total_ms:.0f} ms in all[/]",
        soft_wrap=True,
    )
    for line in response.degraded:
        err.print(f"[yellow]degraded:[/] {escape(line)}", soft_wrap=True)


def origin(chunk: Chunk) -> str:
    """How a chunk's text came about, in a few words."""
    if chunk.extractive:
        # A quotation has no steps of its own; without a rung the decoder was not there to try any.
        return f"quoted, for {'no text passed the checks' if chunk.rungs else 'the decoder gave none'}"
    steps = f"{chunk.steps} step{'' if chunk.steps == 1 else 's'}"
    return f"{steps}, cosine {chunk.cosine:.2f}{', from the cache' if chunk.cache_hit else ''}"


def _times(chunk: Chunk) -> str:
    return ", ".join(f"{timing.stage} {timing.total_ms:.0f} ms" for timing in chunk.timings)


def _read(text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise InvalidInput("both TEXT and --file are given; give one of them")
    if text is not None and text != "-":
        return text
    if file is None and sys.stdin.isatty():
        raise InvalidInput("no text: give TEXT, --file FILE, or pipe it in")
    data = file.read_bytes() if file else sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        name = str(file) if file else "stdin"
        raise InvalidInput(f"{name} is not UTF-8: byte {data[error.start]:#04x} at {error.start}") from None


def _steps(rungs: str) -> Sequence[int]:
    try:
        return [int(part) for part in rungs.split(",") if part.strip()]
    except ValueError:
        raise InvalidInput(f"--rungs is {rungs!r}; must be numbers with commas, such as 1,3,5") from None
