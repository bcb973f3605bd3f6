"""Clients that break off in the middle of HTTP/2: each a socket that has sent so much and no more."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from nextvec.client import completion_request

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW = 4

DRIP_SECONDS = 0.1


def unfinished() -> list[bytes]:
    """What clients send that leave it there, from nothing at all to a request that is all but complete."""
    message = completion_request("The tide was out.").SerializeToString()
    data = struct.pack(">BI", 0, len(message)) + message
    begun = _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS, 1, _headers())
    return [b"", _PREFACE[:10], begun, begun + _frame(_DATA, 0, 1, data[:-1])]


def unread() -> bytes:
    """A complete request of a client that gives no room for the answer."""
    message = completion_request("The tide was out.").SerializeToString()
    data = struct.pack(">BI", 0, len(message)) + message
    no_room = struct.pack(">HI", _INITIAL_WINDOW, 0)
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, no_room)
        + _frame(_HEADERS, _END_HEADERS, 1, _headers())
        + _frame(_DATA, _END_STREAM, 1, data)
    )


@contextmanager
def connections(address: str, count: int, sent: list[bytes]) -> Iterator[list[socket.socket]]:
    """So many connections, open for as long; each sends one of `sent`, in turn, and reads nothing."""
    host, _, port = address.rpartition(":")
    opened: list[socket.socket] = []
    try:
        for number in range(count):
            connection = socket.create_connection((host, int(port)), timeout=10)
            opened.append(connection)
            connection.sendall(sent[number % len(sent)])
        yield opened
    finally:
        for connection in opened:
            connection.close()


@asynccontextmanager
async def dripping(address: str, count: int) -> AsyncIterator[None]:
    """So many connections that send a request a byte at a time."""
    whole = unread()

    async def drip(connection: socket.socket) -> None:
        for byte in whole:
            # A server that has had enough may close.
            with contextlib.suppress(OSError):
                connection.send(bytes([byte]))
            await asyncio.sleep(DRIP_SECONDS)

    with connections(address, count, [b""]) as opened:
        tasks = [asyncio.create_task(drip(connection)) for connection in opened]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _headers() -> bytes:
    """HPACK literals, none of them compressed."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/nextvec.v1.GatewayService/Complete",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
