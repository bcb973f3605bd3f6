"""The four stages as the pipeline calls them, each with its share of a request's time."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from gateway.stage_client import PROBE_SECONDS, Call, StageClient
from nextvec.errors import DeadlineExceeded
from nextvec.routes import STAGES
from nextvec.tls import client_credentials
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

_STUBS: dict[str, Callable[[grpc.aio.Channel], Any]] = {
    "encoder": EncoderServiceStub,
    "lvm": LvmServiceStub,
    "snap": SnapServiceStub,
    "decoder": DecoderServiceStub,
}


class Stages:
    """The four stages, each call with its share of the request's time. Made inside the event loop."""

    def __init__(
        self, settings: GatewaySettings, metrics: GatewayMetrics, tracing: Tracing = NO_TRACING
    ) -> None:
        """Raises StartupError where a TLS file is bad: later that would only show in each call."""
        client_credentials(settings)
        self._settings = settings
        self.clients = {
            stage.name: StageClient(
                stage,
                getattr(settings, f"{stage.name}_address"),
                _STUBS[stage.name],
                settings,
                metrics,
                tracing,
            )
            for stage in STAGES
        }
        self._encoder, self._lvm, self._snap, self._decoder = self.clients.values()

    async def close(self) -> None:
        """Closes the channels."""
        for client in self.clients.values():
            await client.close()

    async def encode(self, texts: Sequence[str], call: Call) -> tuple[EncodeResult, StageTiming]:
        """Raw vectors of N texts."""
        request = EncodeRequest(texts=texts)
        return await self._encoder.ask("Encode", request, call, self._settings.encode_seconds)

    async def predict(self, request: PredictRequest, call: Call) -> tuple[PredictResult, StageTiming]:
        """The next vector.

        The first use of a model loads it, which takes longer than a prediction may. So a stage that is late
        is asked once more, with the time that decoding does not need.
        """
        settings = self._settings
        try:
            return await self._lvm.ask("Predict", request, call, settings.lvm_seconds)
        except DeadlineExceeded:
            spare = call.deadline.remaining - settings.snap_seconds - settings.decode_seconds
            if spare <= settings.lvm_seconds:
                raise
        return await self._lvm.ask("Predict", request, call, spare)

    async def models(self) -> list[ModelInfo]:
        """Models of the LVM stage."""
        listed = await self._lvm.fetch("ListModels", ListModelsRequest(), PROBE_SECONDS)
        return list(listed.models)

    async def search(self, request: SearchRequest, call: Call) -> tuple[SearchResult, StageTiming]:
        """Entries of the bank near a vector."""
        return await self._snap.ask("Search", request, call, self._settings.snap_seconds)

    async def project(self, request: ProjectRequest, call: Call) -> tuple[ProjectResult, StageTiming]:
        """A vector where real text lives."""
        return await self._snap.ask("Project", request, call, self._settings.snap_seconds)

    async def decode(
        self, request: DecodeRequest, call: Call, hear: Callable[[Hypothesis], None]
    ) -> tuple[DecodeResult, StageTiming]:
        """The text of a vector; `hear` is told of hypotheses, where the request wants them."""
        return await self._decoder.ask("Decode", request, call, self._settings.decode_seconds, hear)
