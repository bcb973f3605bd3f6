"""Client of one stage: one stream per call, balanced over replicas, made again where that is safe."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.metrics import GatewayMetrics
from gateway.replicas import Replica, Replicas
from gateway.retries import (
    ATTEMPTS,
    REASONS,
    UNAVAILABLE,
    RetryBudget,
    pause_before_retry,
    reason_to_retry,
)
from gateway.settings import GatewaySettings
from nextvec.addresses import Endpoint
from nextvec.channel import open_channel
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, NextvecError, StageUnavailable, from_rpc
from nextvec.logs import get_log
from nextvec.routes import Stage
from nextvec.stream import exchange, raise_for_item
from nextvec.tls import client_files
from nextvec.tracing import Tracing
from nextvec.v1.decoder_pb2 import Hypothesis
from nextvec.v1.gateway_pb2 import StageTiming

log = get_log(__name__)

PROBE_SECONDS = 1.0
"""Time a stage has to say how it is; a healthy one takes milliseconds."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Call:
    """One client request, as every stage call made for it carries it."""

    request_id: str
    deadline: Deadline


class StageClient:
    """Calls to one stage, each to one of its replicas, and to another where that one fails."""

    def __init__(
        self,
        stage: Stage,
        address: str,
        make_stub: Callable[[grpc.aio.Channel], Any],
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        tracing: Tracing,
    ) -> None:
        self.name = stage.name
        self._service = stage.service

        def connect(endpoint: Endpoint) -> grpc.aio.Channel:
            return open_channel(
                endpoint.address,
                settings,
                max_message_bytes=settings.max_message_bytes,
                tracing=tracing,
                name=endpoint.name,
                one_replica=True,
            )

        edition = partial(client_files, settings)
        self._replicas = Replicas(stage.name, address, connect, make_stub, edition)
        # One for each reason: retries of what a full stage refused leave enough for a replica that dies.
        self._budgets = {reason: RetryBudget() for reason in REASONS}
        self._metrics = metrics
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Closes the connections."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=PROBE_SECONDS)
        await self._replicas.close()
        if self._ending:
            await asyncio.wait(self._ending)

    async def ask(
        self,
        method: str,
        request: Any,
        call: Call,
        seconds: float,
        hear: Callable[[Hypothesis], None] = lambda hypothesis: None,
    ) -> tuple[Any, StageTiming]:
        """Sends one request over a stream of its own and returns its result and where the time went.

        The stage has until the call's deadline, and `seconds` at most, other replicas included. `hear` is
        told of hypotheses on the way, of each step once. Raises the error of the item or of the stream;
        DeadlineExceeded and StageUnavailable name the stage.
        """
        request.request_id = call.request_id
        deadline = call.deadline.within(seconds)
        deadline.require(f"the {self.name} stage was asked")
        hear_once = _each_step_once(hear)

        async def converse(replica: Replica) -> Any:
            return await self._converse(replica, method, request, deadline, hear_once)

        started = time.monotonic()
        try:
            # The call's own deadline may be too short for anybody; only the stage's share tells of a replica.
            result = await self._persist(converse, deadline, share=call.deadline.remaining > seconds)
        except NextvecError as error:
            self._metrics.stage_errors.labels(self.name, type(error).__name__).inc()
            raise
        timing = StageTiming(
            stage=self.name,
            total_ms=1000 * (time.monotonic() - started),
            queue_ms=result.timing.queue_ms,
            compute_ms=result.timing.compute_ms,
        )
        for part, ms in (
            ("total", timing.total_ms),
            ("queue", timing.queue_ms),
            ("compute", timing.compute_ms),
        ):
            self._metrics.stage_seconds.labels(self.name, part).observe(ms / 1000)
        return result, timing

    async def fetch(self, method: str, request: Any, seconds: float) -> Any:
        """The response to a unary call, within `seconds`."""
        deadline = Deadline.after(seconds)

        async def unary(replica: Replica) -> Any:
            try:
                return await getattr(replica.stub, method)(request, timeout=deadline.remaining)
            except grpc.RpcError as error:
                raise from_rpc(error, self.name) from None

        return await self._persist(unary, deadline)

    async def probe(self) -> str:
        """Empty where a replica serves now, else what is wrong with the last one asked."""
        tried: list[Replica] = []
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                replica = await self._replicas.pick(tried)
            except StageUnavailable as error:
                return error.message
            if replica in tried:
                break
            tried.append(replica)
            problem = await self._probe(replica)
            if not problem:
                break
        return problem

    async def _probe(self, replica: Replica) -> str:
        stub: Any = health_pb2_grpc.HealthStub(replica.channel)
        try:
            request = health_pb2.HealthCheckRequest(service=self._service)
            # Busy, so that the channel is not closed under it when the replica leaves.
            with replica.busy():
                reply = await stub.Check(request, timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return self._named(from_rpc(error, self.name), replica, PROBE_SECONDS).message
        serving = reply.status == health_pb2.HealthCheckResponse.SERVING
        return "" if serving else f"{self._where(replica)} is up but not serving yet, or no longer"

    async def _persist(
        self, action: Callable[[Replica], Awaitable[_T]], deadline: Deadline, *, share: bool = False
    ) -> _T:
        """What `action` gives with one replica, or with the next where that one cannot do it.

        `share` says that the deadline is as long as a replica in good order needs.
        """
        for budget in self._budgets.values():
            budget.earn()
        tried: list[Replica] = []
        started = time.monotonic()
        while True:
            replica = await self._pick(tried, deadline)
            try:
                with replica.busy():
                    return await action(replica)
            except NextvecError as error:
                tried.append(replica)
                if share and isinstance(error, DeadlineExceeded):
                    replica.set_aside()
                if not await self._may_retry(error, tried, deadline):
                    raise self._named(error, replica, time.monotonic() - started) from None

    async def _pick(self, tried: list[Replica], deadline: Deadline) -> Replica:
        try:
            async with asyncio.timeout(deadline.remaining):
                return await self._replicas.pick(tried)
        except TimeoutError:
            raise DeadlineExceeded(f"the addresses of the {self.name} stage were not found in time") from None

    async def _may_retry(self, error: NextvecError, tried: list[Replica], deadline: Deadline) -> bool:
        """Waits until the call may be made again; False where it may not."""
        reason = reason_to_retry(error)
        if reason is None or len(tried) == ATTEMPTS:
            return False
        another = any(replica not in tried for replica in self._replicas.ready())
        pause = pause_before_retry(error, len(tried), another=another)
        # What is left must be worth the wait.
        if 2 * pause > deadline.remaining:
            return False
        await asyncio.sleep(pause)
        # With no replica left, asking again only makes the answer late.
        if not self._replicas.ready():
            return False
        if not self._budgets[reason].spend():
            self._metrics.retries_refused.labels(self.name, reason).inc()
            return False
        self._metrics.retries.labels(self.name, reason).inc()
        return True

    async def _converse(
        self,
        replica: Replica,
        method: str,
        request: Any,
        deadline: Deadline,
        hear: Callable[[Hypothesis], None],
    ) -> Any:
        last = None
        responses = exchange(getattr(replica.stub, method), [request], stage=self.name, deadline=deadline)
        try:
            async for response in responses:
                if response.WhichOneof("outcome") == "hypothesis":
                    hear(response.hypothesis)
                    continue
                last = response
                break
        finally:
            if last is None:
                await responses.aclose()
            else:
                self._let_end(responses, replica)
        if last is None or last.WhichOneof("outcome") is None:
            raise StageUnavailable("the stream ended without an answer")
        return raise_for_item(last).result

    def _let_end(self, responses: AsyncGenerator[Any, None], replica: Replica) -> None:
        """Has a stream that has given its answer end by itself, so that it does not count as cancelled.

        Nobody waits for it: until the end of a stream is through, the next stage is at work. The replica is
        busy until then, and whatever comes after the answer changes nothing.
        """
        busy = replica.busy()
        busy.__enter__()

        async def end() -> None:
            async for _ in responses:
                pass

        def ended(ending: asyncio.Task[None]) -> None:
            busy.__exit__(None, None, None)
            self._ending.discard(ending)
            if not ending.cancelled() and (error := ending.exception()):
                log.debug("a stream failed after its answer", stage=self.name, error=type(error).__name__)

        ending = asyncio.create_task(end())
        self._ending.add(ending)
        ending.add_done_callback(ended)

    def _where(self, replica: Replica) -> str:
        return f"the {self.name} stage at {replica.address}"

    def _named(self, error: NextvecError, replica: Replica, seconds: float) -> NextvecError:
        where = self._where(replica)
        if isinstance(error, DeadlineExceeded):
            return DeadlineExceeded(f"{where} did not answer within {seconds:.2f} s")
        if reason_to_retry(error) != UNAVAILABLE:
            return error
        # What gRPC says about a lost connection is about its own workings and not about the remedy.
        if error.message.startswith((f"{self.name}: ", f"{self.name} answered ")):
            return StageUnavailable(f"{where} cannot be reached; start it, or wait until it is back")
        return StageUnavailable(f"{where} is not available: {error.message}")


def _each_step_once(hear: Callable[[Hypothesis], None]) -> Callable[[Hypothesis], None]:
    """Tells `hear` of a step only when it is later than all before: another replica starts over."""
    last = -1

    def hear_once(hypothesis: Hypothesis) -> None:
        nonlocal last
        if hypothesis.step > last:
            last = hypothesis.step
            hear(hypothesis)

    return hear_once
