"""Every error that crosses a process border, and the one table to and from gRPC.

NextvecError
├── InvalidInput            INVALID_ARGUMENT     the input is wrong; names field, value and limit
├── FailedPrecondition      FAILED_PRECONDITION  the system is not in the state the request needs
│   ├── WrongSpace                               a vector of another space
│   └── StartupError                             the process cannot start; one line, exit code 2
│       ├── SettingsError                        bad settings, all of them named
│       └── PortInUse                            another process listens there
├── NotFound                NOT_FOUND            a name that is not known; lists the known ones
│   └── UnknownRoute
├── QueueFull               RESOURCE_EXHAUSTED   a queue refuses; says when to try again
│   └── RateLimited                              an API key has had its share for now
├── StageUnavailable        UNAVAILABLE          a stage is down or draining
├── DeadlineExceeded        DEADLINE_EXCEEDED    the time is over
├── Cancelled               CANCELLED            the caller has gone
├── Unauthenticated         UNAUTHENTICATED      the caller did not identify itself
├── PermissionDenied        PERMISSION_DENIED    the caller is known and may not do this
└── InternalError           INTERNAL             a bug; the traceback is in the log under its id

Handlers raise these. Servers turn them into statuses or ItemErrors, clients turn those back into them.
"""

import uuid
from collections.abc import Iterable
from typing import Any

import grpc

from nextvec.v1.vectors_pb2 import ErrorCode, ItemError


class NextvecError(Exception):
    """Base of all errors that the caller may see; the message is meant for them."""

    retry_delay_ms: int = 0
    error_id: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(NextvecError):
    """The input is wrong whatever the state of the system; names field, value and limit."""


class FailedPrecondition(NextvecError):
    """The system is not in the state the request needs."""


class WrongSpace(FailedPrecondition):
    """A vector of a space other than the stage's own; names both."""


class StartupError(FailedPrecondition):
    """The process cannot start; its message is one line that names the cause and the remedy."""

    exit_code = 2


class SettingsError(StartupError):
    """Bad settings; the message has one line for each."""


class PortInUse(StartupError):
    """Another process listens on the port."""


class NotFound(NextvecError):
    """A name that is not known; the message lists the known ones."""


class UnknownRoute(NotFound):
    """A route that is not in the table."""


class QueueFull(NextvecError):
    """A bounded queue refuses; `retry_delay_ms` milliseconds later there is likely room."""

    def __init__(self, message: str, retry_delay_ms: int = 0) -> None:
        super().__init__(message)
        self.retry_delay_ms = retry_delay_ms


class RateLimited(QueueFull):
    """An API key has had its share for now; `retry_delay_ms` milliseconds later it has more."""


class StageUnavailable(NextvecError):
    """A stage is down or draining."""


class DeadlineExceeded(NextvecError):
    """The deadline passed before the work was done."""


class Cancelled(NextvecError):
    """The caller has gone, or the work was cancelled for another reason."""


class Unauthenticated(NextvecError):
    """The caller did not identify itself as it must."""


class PermissionDenied(NextvecError):
    """The caller is known, and may not do this; the message says what it may."""


class InternalError(NextvecError):
    """A bug. The message names only the id; the traceback is in the log under it."""

    def __init__(self, message: str, error_id: str = "") -> None:
        super().__init__(message)
        self.error_id = error_id

    @classmethod
    def new(cls) -> "InternalError":
        """An error with a fresh id, to log the traceback under."""
        error_id = uuid.uuid4().hex[:12]
        return cls(f"internal error {error_id}; the log has the details under this id", error_id)


STATUS: dict[type[NextvecError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    NotFound: grpc.StatusCode.NOT_FOUND,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StageUnavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Cancelled: grpc.StatusCode.CANCELLED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    InternalError: grpc.StatusCode.INTERNAL,
}
"""The table. A subclass has the status of its nearest ancestor here."""

KIND_KEY = "nextvec-error-kind"
ERROR_ID_KEY = "nextvec-error-id"
RETRY_DELAY_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata; the last one is gRPC's own, which its retry policy honours."""

_ERROR_CODES: dict[grpc.StatusCode, Any] = {
    status: ErrorCode.Value(f"ERROR_CODE_{status.name}") for status in STATUS.values()
}
_CLASSES = {status: cls for cls, status in STATUS.items()}
_CLASSES_BY_CODE = {code: _CLASSES[status] for status, code in _ERROR_CODES.items()}


def status_of(error: NextvecError) -> grpc.StatusCode:
    """The gRPC status of an error, by the nearest of its classes in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def trailing_metadata(error: NextvecError) -> tuple[tuple[str, str], ...]:
    """What goes with the status so that the client gets the same error back."""
    pairs = [(KIND_KEY, type(error).__name__)]
    if error.error_id:
        pairs.append((ERROR_ID_KEY, error.error_id))
    if error.retry_delay_ms:
        pairs.append((RETRY_DELAY_KEY, str(error.retry_delay_ms)))
    return tuple(pairs)


def to_item(error: NextvecError) -> ItemError:
    """The error as it travels for one item of a stream."""
    return ItemError(
        code=_ERROR_CODES[status_of(error)],
        kind=type(error).__name__,
        message=error.message,
        retry_delay_ms=error.retry_delay_ms,
        error_id=error.error_id,
    )


def from_item(item: ItemError) -> NextvecError:
    """The error that `to_item` made `item` from; a kind not known here becomes its code's class."""
    default = _CLASSES_BY_CODE.get(item.code, InternalError)
    return _build(default, item.kind, item.message, item.retry_delay_ms, item.error_id)


_STATUS_LOST = "Internal error from Core"
"""What grpc.aio says of a call that the server ended while a request was being written, in place of the
status that the server gave, which cannot be told then (https://github.com/grpc/grpc/issues/36066)."""


def from_rpc(error: grpc.RpcError, stage: str) -> NextvecError:
    """The error behind a failed call to `stage`, a name for the message.

    Statuses of this table come back as the class that the server raised. Any other status is a fault of
    the connection or the other side, and becomes an InternalError that says so.
    """
    status = error.code()
    details = error.details() or ""
    if status is grpc.StatusCode.INTERNAL and details == _STATUS_LOST:
        return StageUnavailable(f"{stage} ended the call before it had the whole request")
    pairs: Any = error.trailing_metadata() or ()
    metadata = dict(pairs)
    default = _CLASSES.get(status)
    if default is None:
        if status is grpc.StatusCode.UNIMPLEMENTED:
            return InternalError(f"{stage} does not know the call: another server, or version, answers there")
        return InternalError(f"{stage} answered {status.name}: {details}")
    if KIND_KEY in metadata:
        delay = int(metadata.get(RETRY_DELAY_KEY, "0"))
        return _build(default, metadata[KIND_KEY], details, delay, metadata.get(ERROR_ID_KEY, ""))
    return _build(default, default.__name__, f"{stage}: {details}", 0, "")


def _build(default: type[NextvecError], kind: str, message: str, delay: int, error_id: str) -> NextvecError:
    cls = next((known for known in _family(default) if known.__name__ == kind), default)
    if issubclass(cls, QueueFull):
        return cls(message, delay)
    if issubclass(cls, InternalError):
        return cls(message, error_id)
    return cls(message)


def _family(cls: type[NextvecError]) -> Iterable[type[NextvecError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)
