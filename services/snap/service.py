"""SnapService: projections and searches, by way of the batch queue."""

import math
from collections.abc import AsyncIterator
from functools import partial
from typing import TypeVar

import grpc

from nextvec.batching import BatchQueue, Timed
from nextvec.deadline import Deadline
from nextvec.errors import InvalidInput
from nextvec.request import current
from nextvec.stream import serve_items
from nextvec.v1 import snap_pb2
from nextvec.v1.snap_pb2 import ProjectRequest, ProjectResponse, SearchRequest, SearchResponse
from nextvec.v1.snap_pb2_grpc import SnapServiceServicer
from nextvec.v1.vectors_pb2 import Timing, VectorBlock
from nextvec.vectors import Array, from_block, require_space, to_block
from services.snap.bank import BankRecord
from services.snap.engine import Found, Neighbour, Projected, ProjectItem, SearchItem
from services.snap.metrics import SnapMetrics
from services.snap.projection import DEFAULT_POLICY, NEIGHBOURS, policy_named

MAX_NEIGHBOURS = 256
MAX_PRECEDING = 64
MAX_EXCLUDED = 4096
MAX_CONTEXT = 1024
"""Limits of one request: far above any use, and they bound its work and its answer."""

Item = ProjectItem | SearchItem
Answer = Projected | Found
Kind = TypeVar("Kind")


class SnapService(SnapServiceServicer):
    """Serves an engine's bank."""

    def __init__(self, queue: BatchQueue[Item, Answer], bank: BankRecord, metrics: SnapMetrics) -> None:
        """`queue` runs the engine's `run`."""
        self._queue = queue
        self._bank = bank
        self._metrics = metrics

    async def Project(
        self, request_iterator: AsyncIterator[ProjectRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[ProjectResponse]:
        handle = partial(self._project, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, ProjectResponse):
            yield response

    async def Search(
        self, request_iterator: AsyncIterator[SearchRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[SearchResponse]:
        handle = partial(self._search, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, SearchResponse):
            yield response

    async def _project(self, request: ProjectRequest, deadline: Deadline | None) -> ProjectResponse:
        context = self._read(request.context, "context", 2)
        if len(context) > MAX_CONTEXT:
            raise InvalidInput(f"context has {len(context)} vectors; must have at most {MAX_CONTEXT}")
        policy = request.policy or DEFAULT_POLICY
        policy_named(policy)
        item = ProjectItem(
            vector=self._read(request.vector, "vector", 1),
            query=self._read(request.query, "query", 1) if request.HasField("query") else context[-1],
            context=context,
            policy=policy,
            k=_count("k", request.k, MAX_NEIGHBOURS) or NEIGHBOURS,
            exclude_ids=_excluded(request),
            exclude_cosine=_exclude_cosine(request),
        )
        done, value = await self._submit(item, deadline, Projected)
        projection = value.projection
        self._metrics.projected(
            policy,
            clamped=projection.clamp_fired,
            vector=value.cos_vector,
            query=projection.cos_query,
            context=projection.cos_context,
        )
        current().notes.update(model=self._bank.id, policy=policy, clamp_fired=projection.clamp_fired)
        return ProjectResponse(
            result=snap_pb2.ProjectResult(
                vector=to_block(projection.vector, self._bank.space),
                neighbours=[_neighbour(n) for n in value.neighbours],
                weights=snap_pb2.BlendWeights(
                    snap=projection.blend.snap, query=projection.blend.query, context=projection.blend.context
                ),
                clamp_fired=projection.clamp_fired,
                cos_query=projection.cos_query,
                cos_context=projection.cos_context,
                policy=policy,
                timing=_timing(done),
                bank_id=self._bank.id,
                cos_vector=value.cos_vector,
                neighbour_vectors=self._block(value.vectors),
            )
        )

    async def _search(self, request: SearchRequest, deadline: Deadline | None) -> SearchResponse:
        item = SearchItem(
            query=self._read(request.query, "query", 1),
            k=_count("k", request.k, MAX_NEIGHBOURS) or NEIGHBOURS,
            preceding=_count("preceding", request.preceding, MAX_PRECEDING),
            exclude_ids=_excluded(request),
            exclude_cosine=_exclude_cosine(request),
        )
        done, found = await self._submit(item, deadline, Found)
        return SearchResponse(
            result=snap_pb2.SearchResult(
                neighbours=[_neighbour(n) for n in found.neighbours],
                neighbour_vectors=self._block(found.vectors),
                preceding=[_neighbour(n) for n in found.preceding],
                preceding_vectors=self._block(found.preceding_vectors),
                timing=_timing(done),
                bank_id=self._bank.id,
            )
        )

    async def _submit(
        self, item: Item, deadline: Deadline | None, kind: type[Kind]
    ) -> tuple[Timed[Answer], Kind]:
        done = await self._queue.submit(item, deadline=deadline)
        assert isinstance(done.value, kind)
        return done, done.value

    def _read(self, block: VectorBlock, field: str, axes: int) -> Array:
        require_space(block, self._bank.space, field)
        return from_block(block, field, ndim=(axes,), dimension=self._bank.dimensions)

    def _block(self, vectors: Array) -> VectorBlock | None:
        return to_block(vectors, self._bank.space) if len(vectors) else None


def _count(field: str, value: int, limit: int) -> int:
    if value > limit:
        raise InvalidInput(f"{field} is {value}; must be at most {limit}")
    return value


def _excluded(request: ProjectRequest | SearchRequest) -> frozenset[int]:
    _count("the number of exclude_ids", len(request.exclude_ids), MAX_EXCLUDED)
    return frozenset(request.exclude_ids)


def _exclude_cosine(request: ProjectRequest | SearchRequest) -> float | None:
    if not request.HasField("exclude_cosine"):
        return None
    if not math.isfinite(request.exclude_cosine):
        raise InvalidInput(f"exclude_cosine is {request.exclude_cosine}; must be a number, such as 0.98")
    return request.exclude_cosine


def _neighbour(neighbour: Neighbour) -> snap_pb2.Neighbour:
    entry = neighbour.entry
    return snap_pb2.Neighbour(
        id=entry.id,
        text=entry.text,
        document_id=entry.document_id,
        position=entry.position,
        cosine=neighbour.cosine,
    )


def _timing(done: Timed[Answer]) -> Timing:
    return Timing(queue_ms=done.queue_ms, compute_ms=done.compute_ms)
