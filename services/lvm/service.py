"""LvmService: contexts in, predictions out, by way of the batch queue."""

from collections.abc import AsyncIterator
from functools import partial

import grpc

from nextvec.batching import BatchQueue
from nextvec.deadline import Deadline
from nextvec.errors import InvalidInput
from nextvec.request import current
from nextvec.routes import ROUTES, route_named
from nextvec.stream import serve_items
from nextvec.v1.lvm_pb2 import (
    DataSource,
    ListModelsRequest,
    ListModelsResponse,
    ModelInfo,
    PredictRequest,
    PredictResponse,
    PredictResult,
)
from nextvec.v1.lvm_pb2_grpc import LvmServiceServicer
from nextvec.v1.vectors_pb2 import Timing
from nextvec.vectors import from_block, require_space, to_block
from services.lvm.checkpoint import CONTEXT
from services.lvm.engine import Contexts, LvmEngine, Prediction
from services.lvm.registry import ModelCard

MAX_CONTEXTS = 256
"""Contexts of one item; more of them go into more items, which then share the queue fairly with others."""


class LvmService(LvmServiceServicer):
    """Serves an engine's models in one space."""

    def __init__(self, engine: LvmEngine, queue: BatchQueue[Contexts, Prediction], space: str) -> None:
        """`queue` runs the engine's `predict` on items of one route at a time."""
        self._engine = engine
        self._queue = queue
        self._space = space

    async def Predict(
        self, request_iterator: AsyncIterator[PredictRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[PredictResponse]:
        handle = partial(self._predict, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, PredictResponse):
            yield response

    async def ListModels(
        self, request: ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> ListModelsResponse:
        return ListModelsResponse(models=[_info(*entry) for entry in self._engine.cards()])

    async def _predict(self, request: PredictRequest, deadline: Deadline | None) -> PredictResponse:
        contexts = self._read(request)
        done = await self._queue.submit(contexts, size=len(contexts.vectors), deadline=deadline)
        current().notes.update(route=contexts.route, model=done.value.model_id)
        return PredictResponse(
            result=PredictResult(
                prediction=to_block(done.value.vectors, self._space),
                model_id=done.value.model_id,
                timing=Timing(queue_ms=done.queue_ms, compute_ms=done.compute_ms),
            )
        )

    def _read(self, request: PredictRequest) -> Contexts:
        if not request.route:
            raise InvalidInput(f"route is not set; have {', '.join(r.name for r in ROUTES if r.has_lvm)}")
        route_named(request.route)
        require_space(request.context, self._space, "context")
        vectors = from_block(request.context, "context", ndim=(2, 3))
        if vectors.shape[-2] != CONTEXT:
            raise InvalidInput(
                f"context.shape is {list(vectors.shape)}; the last axis but one must be {CONTEXT}, "
                "the vectors of a context"
            )
        vectors = vectors.reshape(-1, *vectors.shape[-2:])  # [N, 5, D]
        if len(vectors) > MAX_CONTEXTS:
            raise InvalidInput(
                f"context.shape is {list(vectors.shape)}; at most {MAX_CONTEXTS} contexts go into one item"
            )
        return Contexts(request.route, vectors)


def _info(route: str, card: ModelCard, loaded: bool) -> ModelInfo:
    return ModelInfo(
        route=route,
        name=card.name,
        architecture=card.architecture,
        parameters=card.parameters,
        space=card.space,
        sha256=card.sha256,
        trained_on=[
            DataSource(source=s.source, licence=s.licence, documents=s.documents, chunks=s.chunks)
            for s in card.trained_on
        ],
        loaded=loaded,
    )
