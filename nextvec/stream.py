"""Bidirectional streams of items matched by request_id: serving them, and asking them.

A request message has `request_id`; a response message has `request_id` and `error` (an ItemError).
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import grpc

from nextvec.deadline import Deadline
from nextvec.errors import InternalError, InvalidInput, from_item, from_rpc, to_item
from nextvec.request import Malformed, as_error, current

Req = TypeVar("Req")
Resp = TypeVar("Resp")

MAX_REQUEST_ID = 128
"""Characters of a request_id; it is logged and kept while the item is in flight."""

_END = object()


async def serve_items(
    requests: AsyncIterator[Any],
    handle: Callable[[Any], Awaitable[Resp] | AsyncGenerator[Resp, None]],
    response_type: Callable[..., Resp],
    *,
    limit: int = 32,
) -> AsyncIterator[Resp]:
    """Serves a stream: yields what `handle` gives for each request, as it comes, in any order.

    `handle` returns one response or generates several; their request_id is filled in here. At most
    `limit` items are in flight, reading pauses beyond. An item that fails ends with
    `response_type(request_id=..., error=...)` and disturbs no other. When the client goes away or the
    generator is closed, the items in flight are cancelled.
    """
    responses: asyncio.Queue[Any] = asyncio.Queue(maxsize=limit)
    slots = asyncio.Semaphore(limit)
    in_flight: set[str] = set()
    record = current()
    # Items that are being dropped say nothing more; a consumer that has closed takes nothing more.
    dropping = closed = False

    async def fail(request_id: str, error: BaseException) -> None:
        item = to_item(as_error(error))
        record.item_errors[item.kind] += 1
        await responses.put(response_type(request_id=request_id, error=item))

    async def serve(request: Any) -> None:
        request_id = request.request_id
        try:
            answer = handle(request)
            if inspect.isawaitable(answer):
                await deliver(await answer, request_id)
            else:
                async with contextlib.aclosing(answer):
                    async for response in answer:
                        await deliver(response, request_id)
        except asyncio.CancelledError as error:
            if dropping:
                raise
            await fail(request_id, error)
        except Exception as error:
            await fail(request_id, error)
        finally:
            in_flight.discard(request_id)
            slots.release()

    async def deliver(response: Any, request_id: str) -> None:
        response.request_id = request_id
        await responses.put(response)

    async def read() -> None:
        nonlocal dropping
        items: set[asyncio.Task[None]] = set()
        try:
            async for request in requests:
                record.items += 1
                try:
                    request_id = _usable_id(request, in_flight)
                except InvalidInput as error:
                    await fail(getattr(request, "request_id", "")[:MAX_REQUEST_ID], error)
                    continue
                record.request_id = record.request_id or request_id
                await slots.acquire()
                in_flight.add(request_id)
                item = asyncio.create_task(serve(request))
                items.add(item)
                item.add_done_callback(items.discard)
            if items:
                await asyncio.wait(items)
        finally:
            dropping = True
            for item in items:
                item.cancel()
            if items:
                await asyncio.wait(items)

    async def read_to_the_end() -> None:
        try:
            await read()
        finally:
            if not closed:
                await responses.put(_END)

    reader = asyncio.create_task(read_to_the_end())
    try:
        while (response := await responses.get()) is not _END:
            yield response
        await reader
    finally:
        closed = True
        if not reader.done():
            reader.cancel()
            await asyncio.wait([reader])


def _usable_id(request: Any, in_flight: set[str]) -> str:
    if isinstance(request, Malformed):
        raise InvalidInput(request.message)
    request_id: str = request.request_id
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidInput(f"request_id has {len(request_id)} characters; must have at most {MAX_REQUEST_ID}")
    if request_id in in_flight:
        raise InvalidInput(f"request_id {request_id!r} is in flight on this stream; must be unique")
    return request_id


async def exchange(
    method: Callable[..., Any], requests: Iterable[Req], *, stage: str, deadline: Deadline | None = None
) -> AsyncGenerator[Any, None]:
    """Sends `requests` over one new stream of a stub's `method` and yields the responses as they come.

    Failed items come as responses with `error` set; a failed stream raises its NextvecError. The call ends
    when the generator is closed. `stage` names the other side in messages.
    """

    async def sending() -> AsyncIterator[Req]:
        for request in requests:
            yield request

    call = method(sending(), timeout=deadline.remaining if deadline else None)
    try:
        async for response in call:
            yield response
    except grpc.RpcError as error:
        raise from_rpc(error, stage) from None
    finally:
        call.cancel()


async def ask(
    method: Callable[..., Any], request: Any, *, stage: str, deadline: Deadline | None = None
) -> Any:
    """Sends one request over a stream of its own and returns the last response, where it is no error.

    Raises the item's error, or the stream's.
    """
    last = None
    async for response in exchange(method, [request], stage=stage, deadline=deadline):
        last = response
    if last is None:
        raise InternalError(f"{stage} ended the stream without an answer")
    return raise_for_item(last)


def raise_for_item(response: Resp) -> Resp:
    """Returns a response, or raises the error it carries."""
    if response.HasField("error"):  # type: ignore[attr-defined]
        raise from_item(response.error)  # type: ignore[attr-defined]
    return response
