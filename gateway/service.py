"""GatewayService on one port: protobuf in, protobuf out."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

import grpc

from gateway.board import RouteBoard
from gateway.completions import Completions, Notes
from gateway.run import Event
from nextvec.deadline import Deadline
from nextvec.logs import get_log
from nextvec.request import current
from nextvec.routes import Route
from nextvec.stream import MAX_REQUEST_ID, serve_items
from nextvec.tracing import NO_TRACING, Tracing
from nextvec.v1.gateway_pb2 import (
    Chunk,
    CompleteRequest,
    CompleteResponse,
    GenerateRequest,
    GenerateResponse,
    HypothesisFormed,
    ListRoutesRequest,
    ListRoutesResponse,
)
from nextvec.v1.gateway_pb2_grpc import GatewayServiceServicer

log = get_log(__name__)


class GatewayService(GatewayServiceServicer):
    """Answers for one route. A handler cannot see its port, so each port has a service of its own."""

    def __init__(
        self, route: Route, completions: Completions, board: RouteBoard, tracing: Tracing = NO_TRACING
    ) -> None:
        self._route = route
        self._completions = completions
        self._board = board
        self._tracing = tracing

    async def Complete(self, request: CompleteRequest, context: grpc.aio.ServicerContext) -> CompleteResponse:
        record = current()
        request.request_id = request.request_id or _new_id()
        record.request_id = request.request_id[:MAX_REQUEST_ID]
        return await self._completions.complete(request, self._route, Deadline.of(context), record.notes)

    async def Generate(
        self, request_iterator: AsyncIterator[GenerateRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[GenerateResponse]:
        handle = partial(self._generate, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, GenerateResponse):
            yield response

    async def ListRoutes(
        self, request: ListRoutesRequest, context: grpc.aio.ServicerContext
    ) -> ListRoutesResponse:
        return await self._board.list()

    async def _generate(
        self, item: GenerateRequest, deadline: Deadline | None
    ) -> AsyncGenerator[GenerateResponse, None]:
        request = CompleteRequest()
        request.CopyFrom(item.request)
        request.request_id = item.request_id or _new_id()
        # Unbounded, because the limits of a request bound its events to a few hundred.
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        work = asyncio.create_task(self._logged(request, item.stream_hypotheses, deadline, events))
        work.add_done_callback(lambda done: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield _response(event)
            yield GenerateResponse(complete=await work)
        finally:
            work.cancel()

    async def _logged(
        self,
        request: CompleteRequest,
        stream_hypotheses: bool,
        deadline: Deadline | None,
        events: "asyncio.Queue[Event | None]",
    ) -> CompleteResponse:
        """Completes an item with a span and a log line: the stream's own stand for all of its items."""
        notes: Notes = {"request_id": request.request_id[:MAX_REQUEST_ID]}
        started = time.monotonic()
        with self._tracing.span("GatewayService/Generate item"):
            try:
                return await self._completions.complete(
                    request,
                    self._route,
                    deadline,
                    notes,
                    emit=events.put_nowait,
                    stream_hypotheses=stream_hypotheses,
                )
            finally:
                log.info("item", ms=round(1000 * (time.monotonic() - started), 2), **notes)
                self._tracing.describe(notes)


def _new_id() -> str:
    return uuid.uuid4().hex


def _response(event: Event) -> GenerateResponse:
    if isinstance(event, Chunk):
        return GenerateResponse(chunk=event)
    if isinstance(event, HypothesisFormed):
        return GenerateResponse(hypothesis=event)
    return GenerateResponse(stage_finished=event)
