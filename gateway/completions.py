"""Requests from admission to answer: checked, bounded in number and time, counted, summed up for the log."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from gateway.limits import Limits, Work
from gateway.metering import Meter
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.run import Emit, Run
from nextvec.deadline import Deadline
from nextvec.errors import QueueFull, status_of
from nextvec.request import as_error, caller
from nextvec.routes import Route
from nextvec.v1.gateway_pb2 import CompleteRequest, CompleteResponse, ContextSource

Notes = dict[str, str | int | float | bool]


class Admission:
    """Lets a bounded number of requests in at once. Beyond it, waiting only makes every answer late."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        # Until one has been measured, a request takes as long as the service levels allow at the median.
        self._seconds = 1.0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Holds a place; raises QueueFull, with the time that a request takes of late, if there is none."""
        if self._inside >= self._limit:
            delay = max(1, math.ceil(1000 * self._seconds))
            raise QueueFull(
                f"the gateway is full: {self._inside} of {self._limit} requests are being worked on; "
                f"try again in {delay} ms",
                retry_delay_ms=delay,
            )
        self._inside += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self._inside -= 1
            # A tenth of the weight on the latest request smooths over cache hits.
            self._seconds += (time.monotonic() - started - self._seconds) / 10


class Completions:
    """Completes requests of all six ports over one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        limits: Limits,
        admission: Admission,
        meter: Meter,
        metrics: GatewayMetrics,
        *,
        budget_seconds: float,
    ) -> None:
        """`budget_seconds` is the longest that a request may take for each chunk it generates."""
        self._pipeline = pipeline
        self._limits = limits
        self._admission = admission
        self._meter = meter
        self._metrics = metrics
        self._budget = budget_seconds

    async def complete(
        self,
        request: CompleteRequest,
        route: Route,
        deadline: Deadline | None,
        notes: Notes,
        *,
        emit: Emit = lambda event: None,
        stream_hypotheses: bool = False,
    ) -> CompleteResponse:
        """The answer to a request that came to the port of `route`.

        `deadline` is the client's. `notes` is filled in with what the log says about the request, as far as
        it is known; its texts are there as `input` and `output`, which the log leaves out unless it is asked
        for them, and traces always. Raises the NextvecError that the client gets.
        """
        notes["route"] = route.name
        notes["input"] = request.paragraph or "\n".join(request.messages)
        if key := caller.get():
            notes["key"] = key
        started = time.monotonic()
        code = grpc.StatusCode.OK
        try:
            # First, so that wrong requests count as well.
            self._meter.take_request(route.name)
            work = self._limits.check(request, route, stream_hypotheses=stream_hypotheses)
            with self._admission.admit():
                self._meter.take_chunks(work.chunks, route.name)
                run = await self._pipeline.complete(work, self._within_budget(work, deadline), emit)
        except asyncio.CancelledError:
            late = deadline is not None and deadline.expired
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except Exception as failure:
            error = as_error(failure)
            code = status_of(error)
            raise error from None
        finally:
            notes["outcome"] = code.name
            self._metrics.completions.labels(route.name, code.name).inc()
        self._metrics.completion_seconds.labels(route.name).observe(time.monotonic() - started)
        self._count(run)
        notes.update(_summary(run))
        return run.response

    def _within_budget(self, work: Work, deadline: Deadline | None) -> Deadline:
        seconds = self._budget * work.chunks
        return deadline.within(seconds) if deadline else Deadline.after(seconds)

    def _count(self, run: Run) -> None:
        response = run.response
        self._metrics.contexts.labels(_source(response)).inc()
        for stage in run.without:
            self._metrics.degraded.labels(stage).inc()
        for reason in run.quoted:
            self._metrics.extractive.labels(reason).inc()
        for chunk in response.chunks:
            origin = "extractive" if chunk.extractive else "cache" if chunk.cache_hit else "decoded"
            self._metrics.chunks.labels(response.route, origin).inc()


def _summary(run: Run) -> dict[str, Any]:
    response = run.response
    notes: dict[str, Any] = {
        "context": _source(response),
        "own": response.context.own,
        "chunks": len(response.chunks),
        "steps": max(chunk.steps for chunk in response.chunks),
        "cache_hits": sum(chunk.cache_hit for chunk in response.chunks),
        "extractive": sum(chunk.extractive for chunk in response.chunks),
        "output": "\n".join(chunk.text for chunk in response.chunks),
    }
    notes |= {f"{stage}_model": model for stage, model in response.model_ids.items()}
    if run.without:
        notes["without"] = ",".join(dict.fromkeys(run.without))
    for timing in response.timings:
        key = f"{timing.stage}_ms"
        notes[key] = round(notes.get(key, 0) + timing.total_ms, 2)
    return notes


def _source(response: CompleteResponse) -> str:
    name = ContextSource.Name(response.context.source)
    return name.removeprefix("CONTEXT_SOURCE_").lower()
