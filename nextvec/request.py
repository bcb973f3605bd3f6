"""What is known about the RPC being served, for its log line, and how its failures become errors."""

import asyncio
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc

from nextvec.errors import Cancelled, DeadlineExceeded, InternalError, NextvecError, from_rpc
from nextvec.logs import get_log

log = get_log(__name__)


@dataclass
class Request:
    """One RPC: filled in while it is served, logged when it ends. Holds no text of the user's."""

    method: str
    request_id: str = ""
    items: int = 0
    item_errors: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str | int | float | bool] = field(default_factory=dict)


_current: ContextVar[Request | None] = ContextVar("nextvec_request", default=None)

caller: ContextVar[str] = ContextVar("nextvec_caller", default="")
"""Id of the API key that the RPC came with; empty where none is asked for."""


def begin(method: str) -> Request:
    """Starts the record of an RPC and makes it the current one of this task and its children."""
    request = Request(method)
    if key := caller.get():
        request.notes["key"] = key
    _current.set(request)
    return request


def current() -> Request:
    """The record of the RPC being served; outside of one, a record that nobody reads."""
    return _current.get() or Request("")


@dataclass(frozen=True)
class Malformed:
    """Stands in for a message of a stream that could not be read."""

    message: str


def as_error(error: BaseException) -> NextvecError:
    """The error that the caller gets for `error`.

    What is not a NextvecError or a known failure of a call is a bug: it is logged with its traceback under
    a fresh id, and the caller gets an InternalError with that id.
    """
    if isinstance(error, NextvecError):
        return error
    if isinstance(error, grpc.RpcError):
        return from_rpc(error, "a stage")
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("the deadline passed before the work was done")
    if isinstance(error, asyncio.CancelledError):
        return Cancelled("the work was cancelled")
    internal = InternalError.new()
    log.error("bug", error_id=internal.error_id, method=current().method, exc_info=error)
    return internal
