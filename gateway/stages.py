"""Clients of the four stages: one stream per call, so that round robin spreads requests over replicas."""

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from nextvec.channel import open_channel
from nextvec.deadline import Deadline
from nextvec.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    NextvecError,
    StageUnavailable,
    from_rpc,
)
from nextvec.routes import STAGES, Stage
from nextvec.stream import exchange, raise_for_item
from nextvec.tracing import NO_TRACING, Tracing
from nextvec.v1.decoder_pb2 import DecodeRequest, DecodeResult, Hypothesis
from nextvec.v1.decoder_pb2_grpc import DecoderServiceStub
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResult
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub
from nextvec.v1.gateway_pb2 import StageTiming
from nextvec.v1.lvm_pb2 import ListModelsRequest, ModelInfo, PredictRequest, PredictResult
from nextvec.v1.lvm_pb2_grpc import LvmServiceStub
from nextvec.v1.snap_pb2 import ProjectRequest, ProjectResult, SearchRequest, SearchResult
from nextvec.v1.snap_pb2_grpc import SnapServiceStub

_PROBE_SECONDS = 1.0
"""Time a stage has to say how it is; a healthy one takes milliseconds."""


@dataclass(frozen=True)
class Call:
    """One client request, as every stage call made for it carries it."""

    request_id: str
    deadline: Deadline


class StageClient:
    """The channel to one stage, and calls over it."""

    def __init__(
        self,
        stage: Stage,
        address: str,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        tracing: Tracing,
    ) -> None:
        self.name = stage.name
        self.channel = open_channel(
            address, settings, max_message_bytes=settings.max_message_bytes, tracing=tracing
        )
        self._service = stage.service
        self._where = f"the {stage.name} stage at {address}"
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)
        self._metrics = metrics

    async def ask(
        self,
        method: Callable[..., Any],
        request: Any,
        call: Call,
        seconds: float,
        hear: Callable[[Hypothesis], None] = lambda hypothesis: None,
    ) -> tuple[Any, StageTiming]:
        """Sends one request over a stream of its own and returns its result and where the time went.

        The stage has until the call's deadline, and `seconds` at most. `hear` is told of hypotheses on the
        way. Raises the error of the item or of the stream; DeadlineExceeded and StageUnavailable name the
        stage.
        """
        request.request_id = call.request_id
        deadline = call.deadline.within(seconds)
        deadline.require(f"{self._where} was asked")
        started = time.monotonic()
        try:
            result = await self._converse(method, request, deadline, hear)
        except NextvecError as error:
            named = self._named(error, time.monotonic() - started)
            self._metrics.stage_errors.labels(self.name, type(named).__name__).inc()
            raise named from None
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

    async def probe(self) -> str:
        """Empty where the stage serves now, else what is wrong with it."""
        try:
            request = health_pb2.HealthCheckRequest(service=self._service)
            reply = await self._health.Check(request, timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            return self._named(from_rpc(error, self.name), _PROBE_SECONDS).message
        serving = reply.status == health_pb2.HealthCheckResponse.SERVING
        return "" if serving else f"{self._where} is up but not serving yet, or no longer"

    async def _converse(
        self, method: Callable[..., Any], request: Any, deadline: Deadline, hear: Callable[[Hypothesis], None]
    ) -> Any:
        last = None
        async with aclosing(exchange(method, [request], stage=self.name, deadline=deadline)) as responses:
            async for response in responses:
                if response.WhichOneof("outcome") == "hypothesis":
                    hear(response.hypothesis)
                else:
                    last = response
        # Only now, so that a stream with a failed item ends by itself and does not count as cancelled.
        if last is None or last.WhichOneof("outcome") is None:
            raise InternalError(f"{self._where} ended the stream without an answer")
        return raise_for_item(last).result

    def _named(self, error: NextvecError, seconds: float) -> NextvecError:
        if isinstance(error, DeadlineExceeded):
            return DeadlineExceeded(f"{self._where} did not answer within {seconds:.2f} s")
        # A stage that goes away while it answers ends the call as cancelled, unasked.
        if not isinstance(error, StageUnavailable | Cancelled):
            return error
        # What gRPC says about a lost connection is about its own workings and not about the remedy.
        if error.message.startswith(f"{self.name}: "):
            return StageUnavailable(f"{self._where} cannot be reached; start it, or wait until it is back")
        return StageUnavailable(f"{self._where} is not available: {error.message}")


class Stages:
    """The four stages, each call with its share of the request's time. Made inside the event loop."""

    def __init__(
        self, settings: GatewaySettings, metrics: GatewayMetrics, tracing: Tracing = NO_TRACING
    ) -> None:
        self._settings = settings
        self.clients = {
            stage.name: StageClient(
                stage, getattr(settings, f"{stage.name}_address"), settings, metrics, tracing
            )
            for stage in STAGES
        }
        self._encoder, self._lvm, self._snap, self._decoder = self.clients.values()
        self._encode = EncoderServiceStub(self._encoder.channel)
        self._predict = LvmServiceStub(self._lvm.channel)
        self._bank = SnapServiceStub(self._snap.channel)
        self._decode = DecoderServiceStub(self._decoder.channel)

    async def close(self) -> None:
        """Closes the channels."""
        for client in self.clients.values():
            await client.channel.close()

    async def encode(self, texts: Sequence[str], call: Call) -> tuple[EncodeResult, StageTiming]:
        """Raw vectors of N texts."""
        request = EncodeRequest(texts=texts)
        return await self._encoder.ask(self._encode.Encode, request, call, self._settings.encode_seconds)

    async def predict(self, request: PredictRequest, call: Call) -> tuple[PredictResult, StageTiming]:
        """The next vector.

        The first use of a model loads it, which takes longer than a prediction may. So a stage that is late
        is asked once more, with the time that decoding does not need.
        """
        settings = self._settings
        try:
            return await self._lvm.ask(self._predict.Predict, request, call, settings.lvm_seconds)
        except DeadlineExceeded:
            spare = call.deadline.remaining - settings.snap_seconds - settings.decode_seconds
            if spare <= settings.lvm_seconds:
                raise
        return await self._lvm.ask(self._predict.Predict, request, call, spare)

    async def models(self) -> list[ModelInfo]:
        """Models of the LVM stage."""
        try:
            listed = await self._predict.ListModels(ListModelsRequest(), timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc(error, self._lvm.name) from None
        return list(listed.models)

    async def search(self, request: SearchRequest, call: Call) -> tuple[SearchResult, StageTiming]:
        """Entries of the bank near a vector."""
        return await self._snap.ask(self._bank.Search, request, call, self._settings.snap_seconds)

    async def project(self, request: ProjectRequest, call: Call) -> tuple[ProjectResult, StageTiming]:
        """A vector where real text lives."""
        return await self._snap.ask(self._bank.Project, request, call, self._settings.snap_seconds)

    async def decode(
        self, request: DecodeRequest, call: Call, hear: Callable[[Hypothesis], None]
    ) -> tuple[DecodeResult, StageTiming]:
        """The text of a vector; `hear` is told of hypotheses, where the request wants them."""
        return await self._decoder.ask(
            self._decode.Decode, request, call, self._settings.decode_seconds, hear
        )
