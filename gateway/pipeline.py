"""From a text to the next one: encoder, LVM, snap and decoder in turn, once per chunk."""

import time

import numpy as np

from gateway.breaker import Breaker
from gateway.context import NEAR_DUPLICATE, SLOTS, Context, Found, fill
from gateway.cutting import Cutter
from gateway.limits import Work
from gateway.run import Emit, Run, reason_of, survivable
from gateway.stage_client import Call
from gateway.stages import Stages
from gateway.target import Target, copy_of_context, raw, snapped
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, InvalidInput, NextvecError, QueueFull, StageUnavailable
from nextvec.v1.decoder_pb2 import DecodeRequest, DecodeResult, Hypothesis
from nextvec.v1.gateway_pb2 import Chunk, CompleteResponse, HypothesisFormed
from nextvec.v1.lvm_pb2 import PredictRequest
from nextvec.v1.snap_pb2 import ProjectRequest, SearchRequest
from nextvec.v1.vectors_pb2 import VectorBlock
from nextvec.vectors import Array, from_block, require_space, to_block

RESERVE_SECONDS = 0.05
"""Time kept back from the decoder, in which the answer that does without it still reaches the client."""


class Pipeline:
    """Works requests in one space over the stages. Holds nothing of a request."""

    def __init__(self, stages: Stages, cutter: Cutter, space: str, breaker: Breaker) -> None:
        """`breaker` is the decoder's."""
        self._stages = stages
        self._breaker = breaker
        self._cutter = cutter
        self._space = space

    async def complete(self, work: Work, deadline: Deadline, emit: Emit) -> Run:
        """Generates the chunks that `work` asks for and tells `emit` of every event.

        Raises StageUnavailable where the encoder or the LVM is down, for nothing can stand in for them. Where
        snap or the decoder is down, or a later chunk cannot be made, the response says in `degraded` what it
        went without.
        """
        started = time.monotonic()
        run = Run(work, Call(work.request_id, deadline), emit)
        context = await self._context(run)
        run.response.context.CopyFrom(context.info())
        for index in range(work.chunks):
            run.index = index
            try:
                if index:
                    context = await self._slide(run, context, run.response.chunks[-1].text)
                run.made(await self._decode(run, await self._target(run, context)))
            except (DeadlineExceeded, QueueFull, StageUnavailable) as error:
                if not index:
                    raise
                run.degraded("rest", f"{error.message}; the chunks before this one are all there are")
                break
        run.response.MergeFrom(
            CompleteResponse(
                request_id=work.request_id,
                route=work.route.name,
                total_ms=1000 * (time.monotonic() - started),
                space=self._space,
            )
        )
        return run

    async def _context(self, run: Run) -> Context:
        """The context of the first prediction. `direct` reads its last chunk alone, so nothing is missing."""
        slots = SLOTS if run.work.route.has_lvm else 1
        texts = (await self._cutter.own_chunks(run.work))[-slots:]
        vectors = await self._encode(run, texts)
        if len(texts) == slots:
            return Context.all_own(texts, vectors)
        return fill(texts, vectors, await self._search(run, vectors[0], slots - len(texts)))

    async def _slide(self, run: Run, context: Context, text: str) -> Context:
        """The window after a generated chunk.

        Its text is encoded again and the decoded vector is not used: the window then holds what a reader
        sees, as it would had the caller sent the chunk back, and a prediction is made from vectors of real
        text, as in training, whatever was lost in decoding.
        """
        texts = self._cutter.pieces(text)
        return context.slide(texts, await self._encode(run, texts))

    async def _encode(self, run: Run, texts: list[str]) -> Array:
        result, timing = await self._stages.encode(texts, run.call)
        vectors = self._read(result.vectors, "the encoder's vectors")
        run.finished(timing, result.model_id)
        return vectors

    async def _search(self, run: Run, first: Array, missing: int) -> Found | None:
        """What the bank has near the first own chunk, to fill `missing` slots before it."""
        request = SearchRequest(query=self._block(first), preceding=missing)
        try:
            result, timing = await self._stages.search(request, run.call)
        except NextvecError as error:
            if not survivable(error):
                raise
            run.degraded("snap", f"{error.message}; missing context is repeated instead of found")
            return None
        run.finished(timing, result.bank_id)
        if not result.neighbours:
            run.degraded("bank", "the bank has no text near; missing context is repeated instead of found")
            return None
        return Found(
            result.neighbours,
            self._read(result.neighbour_vectors, "the bank's vectors"),
            result.preceding,
            self._read(result.preceding_vectors, "the bank's vectors")
            if result.preceding
            else np.empty((0, *first.shape), np.float32),
        )

    async def _target(self, run: Run, context: Context) -> Target:
        """What to decode after `context`."""
        if not run.work.route.has_lvm:
            return copy_of_context(context)
        request = PredictRequest(route=run.work.route.name, context=self._block(context.vectors))
        predicted, timing = await self._stages.predict(request, run.call)
        prediction = self._read(predicted.prediction, "the LVM's prediction")[-1]
        run.finished(timing, predicted.model_id)
        return await self._project(run, context, prediction)

    async def _project(self, run: Run, context: Context, prediction: Array) -> Target:
        request = ProjectRequest(
            vector=self._block(prediction),
            context=self._block(context.vectors),
            policy=run.work.snap_policy,
            exclude_ids=context.bank_ids,
            # A prediction near the context would otherwise be pulled onto the text it is to continue.
            exclude_cosine=NEAR_DUPLICATE,
        )
        try:
            result, timing = await self._stages.project(request, run.call)
        except NextvecError as error:
            if not survivable(error):
                raise
            run.degraded("snap", f"{error.message}; the raw prediction is decoded with a restored norm")
            return raw(prediction, context)
        run.finished(timing, result.bank_id)
        if not result.neighbours:
            run.degraded("bank", "the bank has no text near; the raw prediction is decoded")
            return raw(prediction, context)
        vector = self._read(result.vector, "the snapped vector").reshape(-1)
        vectors = self._read(result.neighbour_vectors, "the neighbours' vectors")
        return snapped(vector, vectors, result, context)

    async def _decode(self, run: Run, target: Target) -> Chunk:
        request = DecodeRequest(
            vector=self._block(target.vector),
            source=target.source,
            candidates=target.candidates,
            candidate_vectors=self._block(target.candidate_vectors),
            rungs=run.work.rungs,
            stream_hypotheses=run.work.stream_hypotheses,
            bypass_cache=run.work.bypass_cache,
        )

        def hear(hypothesis: Hypothesis) -> None:
            run.emit(HypothesisFormed(chunk=run.index, hypothesis=hypothesis))

        call = Call(run.call.request_id, Deadline(run.call.deadline.at - RESERVE_SECONDS))
        try:
            with self._breaker.guard(call.deadline):
                result, timing = await self._stages.decode(request, call, hear)
        except NextvecError as error:
            if not survivable(error):
                raise
            run.degraded("decoder", f"{error.message}; the nearest known text is quoted")
            run.quoted.append(reason_of(error))
            return target.quote()
        run.finished(timing, result.model_id)
        if result.extractive:
            run.quoted.append("checks")
        return _chunk(result, target)

    def _block(self, vectors: Array) -> VectorBlock:
        return to_block(vectors, self._space)

    def _read(self, block: VectorBlock, field: str) -> Array:
        require_space(block, self._space, field)
        try:
            return from_block(block, field)
        except InvalidInput as error:
            # Not the client's input but a stage's output is wrong, which is a bug.
            raise RuntimeError(error.message) from error


def _chunk(result: DecodeResult, target: Target) -> Chunk:
    return Chunk(
        text=result.text,
        steps=result.steps,
        cache_hit=result.cache_hit,
        extractive=result.extractive,
        cosine=result.cosine,
        rung=result.rung,
        snap=target.snap,
        rungs=result.rungs,
        fixed_point=result.fixed_point,
    )
