"""Around every RPC of ours: errors become statuses by the one table, one log line, metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import grpc

from nextvec.errors import InvalidInput, NextvecError, NotFound, status_of, trailing_metadata
from nextvec.logs import get_log
from nextvec.metrics import Metrics
from nextvec.request import Malformed, Request, as_error, begin
from nextvec.tracing import NO_TRACING, Tracing

log = get_log(__name__)

_PACKAGE = "/nextvec.v1."
_TRACED = ("request_id", "items", "error")


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Handlers raise NextvecErrors or anything else; this is where they turn into statuses."""

    def __init__(self, metrics: Metrics, tracing: Tracing = NO_TRACING) -> None:
        self._metrics = metrics
        self._tracing = tracing

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        path = str(handler_call_details.method)
        # Health checks and reflection are neither counted nor logged: probes would drown the requests.
        if handler is None:
            return None
        if not path.startswith(_PACKAGE):
            return _wrapped(handler, _refusing, _all_readable)
        return _wrapped(handler, partial(self._watch, path.removeprefix(_PACKAGE)), _readable)

    @asynccontextmanager
    async def _watch(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        started = time.monotonic()
        request = begin(method)
        self._metrics.in_flight.labels(method).inc()
        code, failure = grpc.StatusCode.OK, None
        try:
            yield
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except GeneratorExit:
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            code = context.code()
            raise
        except Exception as error:
            failure = as_error(error)
            code = status_of(failure)
            await context.abort(code, failure.message, trailing_metadata(failure))
        finally:
            self._record(request, code, failure, time.monotonic() - started)

    def _record(
        self, request: Request, code: grpc.StatusCode, failure: NextvecError | None, seconds: float
    ) -> None:
        method = request.method
        self._metrics.in_flight.labels(method).dec()
        self._metrics.requests.labels(method, code.name).inc()
        self._metrics.request_seconds.labels(method).observe(seconds)
        self._metrics.items.labels(method).inc(request.items)
        for kind, count in request.item_errors.items():
            self._metrics.item_errors.labels(method, kind).inc(count)
        fields: dict[str, Any] = {"method": method, "code": code.name, "ms": round(1000 * seconds, 2)}
        if request.request_id:
            fields["request_id"] = request.request_id
        if request.items:
            fields["items"] = request.items
        if request.item_errors:
            fields["item_errors"] = dict(request.item_errors)
        if failure:
            fields["error"] = type(failure).__name__
            # Messages about the input may quote it, and the log holds the user's text only where asked to.
            about_input = isinstance(failure, InvalidInput | NotFound)
            fields["input_error" if about_input else "message"] = failure.message
        fields |= request.notes
        log.info("request", **fields)
        self._tracing.describe({k: v for k, v in fields.items() if k in _TRACED or k in request.notes})


def _wrapped(
    handler: Any,
    around: Callable[[grpc.aio.ServicerContext], AbstractAsyncContextManager[None]],
    read: Callable[[Any], Any],
) -> grpc.RpcMethodHandler:
    """The handler with its work inside of `around` and its request, one or a stream, through `read`."""
    if handler.request_streaming and handler.response_streaming:
        make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
    elif handler.response_streaming:
        make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
    elif handler.request_streaming:
        make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
    else:
        make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary

    async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
        async with around(context):
            return await inner(read(request), context)

    async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        async with around(context):
            async for response in inner(read(request), context):
                yield response

    behaviour: Any = stream if handler.response_streaming else unary
    return make(behaviour, _guarded(handler.request_deserializer), handler.response_serializer)


@asynccontextmanager
async def _refusing(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Around health and reflection, which know nothing of messages that cannot be read."""
    try:
        yield
    except InvalidInput as error:
        await context.abort(status_of(error), error.message, trailing_metadata(error))


def _guarded(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Without this a message that cannot be read ends the whole RPC, as UNKNOWN."""

    def guarded(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception as error:
            return Malformed(
                f"the request message cannot be read ({error}); must be its protobuf type, strings in UTF-8"
            )

    return guarded


def _readable(request: Any) -> Any:
    if isinstance(request, Malformed):
        raise InvalidInput(request.message)
    return request


def _all_readable(request: Any) -> Any:
    """The same for each message of a stream; our own streams answer such a message and go on."""
    if not hasattr(request, "__aiter__"):
        return _readable(request)

    async def messages() -> AsyncIterator[Any]:
        async for message in request:
            yield _readable(message)

    return messages()
