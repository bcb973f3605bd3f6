"""How a command reaches a system that `nextvec up` runs: a socket in a folder of the user's own.

There is a folder for each system, named by the first of its gateway's ports, with the socket and the lists
of replicas. A request is one line of JSON, `{"scale": {"decoder": 3}}`, and so is the answer:
`{"replicas": {"decoder": ["decoder", ...], ...}}` or `{"error": ...}` with an ItemError's fields.
"""

import asyncio
import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from nextvec.cli.deployment import Deployment
from nextvec.errors import FailedPrecondition, InvalidInput, from_item, to_item
from nextvec.request import as_error
from nextvec.v1.vectors_pb2 import ItemError

Replicas = dict[str, list[str]]

_SOCKET = "control"


@contextmanager
def folder(port_base: int) -> Iterator[Path]:
    """The folder of the system whose gateway's first port is `port_base`, for as long as it runs.

    Raises FailedPrecondition where others may have a hand in the place.
    """
    parent = _parent()
    with contextlib.suppress(FileExistsError):
        parent.mkdir(mode=0o700, parents=True)
    _require_private(parent)
    own = parent / str(port_base)
    # One that is left of a system that was killed; the port is free, so that one runs no more.
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@asynccontextmanager
async def controlled(deployment: Deployment, own: Path) -> AsyncIterator[None]:
    """Takes requests for a deployment, by a socket in its folder, while the context lasts.

    What is still being done at its end is given up; whoever asked for it is told by the closed connection.
    """
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer: dict[str, Any] = {"replicas": await _act(deployment, await reader.readline())}
        except Exception as error:
            answer = {"error": MessageToDict(to_item(as_error(error)), preserving_proto_field_name=True)}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        handlers.add(task)
        task.add_done_callback(handlers.discard)
        task.add_done_callback(lambda task: writer.close())

    server = await asyncio.start_unix_server(accept, own / _SOCKET)
    try:
        yield
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        if handlers:
            await asyncio.wait(handlers)


async def request(wish: Mapping[str, Any], port_base: int | None) -> Replicas:
    """Tells the running system, or the one at `port_base`, what to do, and returns its processes.

    Raises FailedPrecondition where none runs or there are several to choose from, or what the system raised.
    """
    reader, writer = await _connect(port_base)
    writer.write(json.dumps(wish).encode() + b"\n")
    line = await reader.readline()
    writer.close()
    if not line:
        raise FailedPrecondition("the system stopped before it was done")
    answer = json.loads(line)
    if "error" in answer:
        raise from_item(ParseDict(answer["error"], ItemError()))
    replicas: Replicas = answer["replicas"]
    return replicas


async def _connect(port_base: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    found = {}
    with contextlib.suppress(FileNotFoundError):
        _require_private(_parent())
    for path in sorted(_parent().glob(f"{port_base or '*'}/{_SOCKET}")):
        with contextlib.suppress(OSError):
            found[path.parent.name] = await asyncio.open_unix_connection(path)
    if len(found) > 1:
        for _, writer in found.values():
            writer.close()
        raise FailedPrecondition(f"several systems run: choose --port-base, one of {', '.join(found)}")
    for connection in found.values():
        return connection
    where = f"with port base {port_base} " if port_base else ""
    raise FailedPrecondition(f"no system {where}runs for this user; start one with `nextvec up`")


async def _act(deployment: Deployment, line: bytes) -> Replicas:
    try:
        wish = json.loads(line)
        scale, restart = dict(wish.get("scale", {})), list(wish.get("restart", []))
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("the request is not what `nextvec scale` sends") from None
    for stage, count in scale.items():
        await deployment.scale(stage, count)
    for stage in restart:
        await deployment.restart(stage)
    return deployment.replicas


def _require_private(parent: Path) -> None:
    """Anybody may put something of this name into a shared folder for temporary files."""
    status = parent.lstat()
    private = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o777 == 0o700
    if not private or status.st_uid != os.getuid():
        raise FailedPrecondition(
            f"{parent} must be a folder of this user with mode 0700, and no link; remove it, or set "
            "XDG_RUNTIME_DIR to a folder of this user"
        )


def _parent() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "nextvec"
    return Path(tempfile.gettempdir()) / f"nextvec-{os.getuid()}"
