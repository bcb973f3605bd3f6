"""DecoderService: requests in, hypotheses and texts out, by way of the ladder."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from itertools import pairwise

import grpc

from nextvec.deadline import Deadline
from nextvec.errors import InvalidInput
from nextvec.request import current
from nextvec.stream import serve_items
from nextvec.v1 import decoder_pb2
from nextvec.v1.decoder_pb2 import DecodeRequest, DecodeResponse, DecodeResult
from nextvec.v1.decoder_pb2_grpc import DecoderServiceServicer
from nextvec.v1.vectors_pb2 import Timing
from nextvec.vectors import from_block, require_space
from services.decoder.ladder import RUNGS, Decoded, Ladder, Order, RungReport
from services.decoder.walk import Hypothesis

MAX_RUNGS = 8
MAX_STEPS = 50
MAX_SOURCE = 100_000
MAX_CANDIDATES = 256
MAX_CANDIDATE = 2_000
"""Limits of one request, texts in characters: far above any use, and they bound its work."""


class DecoderService(DecoderServiceServicer):
    """Serves a ladder in one space."""

    def __init__(self, ladder: Ladder, space: str, model_id: str) -> None:
        self._ladder = ladder
        self._space = space
        self._model_id = model_id

    async def Decode(
        self, request_iterator: AsyncIterator[DecodeRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[DecodeResponse]:
        handle = partial(self._decode, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, DecodeResponse):
            yield response

    async def _decode(
        self, request: DecodeRequest, deadline: Deadline | None
    ) -> AsyncGenerator[DecodeResponse, None]:
        order = self._read(request)
        formed: asyncio.Queue[Hypothesis | None] = asyncio.Queue()

        async def climb() -> Decoded:
            try:
                async with asyncio.timeout(deadline.remaining if deadline else None):
                    listen = formed.put_nowait if request.stream_hypotheses else lambda hypothesis: None
                    return await self._ladder.climb(order, listen, deadline)
            finally:
                formed.put_nowait(None)

        climbing = asyncio.create_task(climb())
        try:
            while (hypothesis := await formed.get()) is not None:
                yield DecodeResponse(hypothesis=_hypothesis(hypothesis))
            result = self._result(await climbing)
            current().notes.update(
                model=result.model_id,
                rung=result.rung,
                steps=result.steps,
                cache_hit=result.cache_hit,
                extractive=result.extractive,
            )
            yield DecodeResponse(result=result)
        finally:
            if not climbing.done():
                climbing.cancel()
                await asyncio.wait([climbing])

    def _read(self, request: DecodeRequest) -> Order:
        require_space(request.vector, self._space, "vector")
        vector = from_block(request.vector, "vector", ndim=(1,))
        if len(request.source) > MAX_SOURCE:
            raise InvalidInput(f"source has {len(request.source)} characters; must have at most {MAX_SOURCE}")
        candidates, vectors = tuple(request.candidates), None
        if len(candidates) > MAX_CANDIDATES:
            raise InvalidInput(f"candidates has {len(candidates)} texts; must have at most {MAX_CANDIDATES}")
        for index, text in enumerate(candidates):
            if not 0 < len(text) <= MAX_CANDIDATE:
                raise InvalidInput(
                    f"candidates[{index}] has {len(text)} characters; must have 1 to {MAX_CANDIDATE}"
                )
        if request.HasField("candidate_vectors"):
            require_space(request.candidate_vectors, self._space, "candidate_vectors")
            vectors = from_block(request.candidate_vectors, "candidate_vectors", ndim=(2,))
            if len(vectors) != len(candidates):
                raise InvalidInput(
                    f"candidate_vectors has {len(vectors)} rows; must have one for each of "
                    f"{len(candidates)} candidates"
                )
        return Order(
            vector=vector,
            source=request.source,
            candidates=candidates,
            candidate_vectors=vectors,
            rungs=_rungs(tuple(request.rungs)),
            bypass_cache=request.bypass_cache,
            skip_checks=request.skip_checks,
        )

    def _result(self, decoded: Decoded) -> DecodeResult:
        return DecodeResult(
            text=decoded.text,
            steps=decoded.steps,
            cosine=decoded.cosine,
            rung=decoded.rung,
            cache_hit=decoded.cache_hit,
            extractive=decoded.extractive,
            rungs=[_report(report) for report in decoded.rungs],
            hypotheses=[_hypothesis(hypothesis) for hypothesis in decoded.hypotheses],
            fixed_point=decoded.fixed_point,
            timing=Timing(queue_ms=decoded.queue_ms, compute_ms=decoded.compute_ms),
            model_id=self._model_id,
        )


def _rungs(rungs: tuple[int, ...]) -> tuple[int, ...]:
    if not rungs:
        return RUNGS
    if len(rungs) > MAX_RUNGS:
        raise InvalidInput(f"rungs has {len(rungs)} entries; must have at most {MAX_RUNGS}")
    if any(later <= earlier for earlier, later in pairwise(rungs)) or rungs[-1] > MAX_STEPS:
        raise InvalidInput(f"rungs is {list(rungs)}; must rise, to at most {MAX_STEPS}")
    return rungs


def _hypothesis(hypothesis: Hypothesis) -> decoder_pb2.Hypothesis:
    return decoder_pb2.Hypothesis(step=hypothesis.step, text=hypothesis.text, cosine=hypothesis.cosine)


def _report(report: RungReport) -> decoder_pb2.RungReport:
    checks = [
        decoder_pb2.Check(name=c.name, value=c.value, limit=c.limit, passed=c.passed) for c in report.checks
    ]
    return decoder_pb2.RungReport(
        rung=report.rung, text=report.text, cosine=report.cosine, passed=report.passed, checks=checks
    )
