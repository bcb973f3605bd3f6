"""Four toy stages on real sockets, exact and without weights, that remember what they were asked."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
from prometheus_client import CollectorRegistry

from nextvec.deadline import Deadline
from nextvec.errors import FailedPrecondition, NotFound
from nextvec.metrics import Metrics
from nextvec.routes import ROUTES, stage_named
from nextvec.server import Server, Service
from nextvec.settings import ServerSettings
from nextvec.stream import serve_items
from nextvec.v1 import decoder_pb2_grpc, encoder_pb2_grpc, lvm_pb2_grpc, snap_pb2_grpc
from nextvec.v1.decoder_pb2 import DecodeResponse, DecodeResult, Hypothesis, RungReport
from nextvec.v1.encoder_pb2 import EncodeResponse, EncodeResult
from nextvec.v1.lvm_pb2 import DataSource, ListModelsResponse, ModelInfo, PredictResponse, PredictResult
from nextvec.v1.snap_pb2 import (
    BlendWeights,
    Neighbour,
    ProjectResponse,
    ProjectResult,
    SearchResponse,
    SearchResult,
)
from nextvec.v1.vectors_pb2 import Timing
from nextvec.vectors import from_block, require_space, to_block, unit

SPACE = "toy-1"
TIMING = Timing(queue_ms=1, compute_ms=2)
ROUTE_NUMBERS = {route.name: number for number, route in enumerate(ROUTES, 1)}


def embed(text):
    """The toy space's vector [768] of a text: the same for the same text, near to no other."""
    return np.random.default_rng(zlib.crc32(text.encode())).normal(0, 2, 768).astype(np.float32)


def count_tokens(texts):
    """A token for each word, and start and end."""
    return [len(text.split()) + 2 for text in texts]


def next_vector(context, route):
    """What the toy LVM of a route predicts after a context [5, 768]."""
    return np.roll(unit(context[-1]), ROUTE_NUMBERS[route])


def read(vector):
    """What the toy decoder writes for a vector [768]."""
    return f"decoded {zlib.crc32(np.asarray(vector, np.float32).tobytes()):08x}"


class ToyStage:
    """What the four have in common. `before` runs ahead of every answer and may wait or raise."""

    name = ""

    def __init__(self):
        self.requests = []
        self.remaining = []
        self.streams = 0
        self.cancelled = asyncio.Event()
        self.before: Callable[..., Awaitable[None]] | None = None
        self.server: Server | None = None

    async def serve(self, requests, context, handle, response_type):
        self.streams += 1
        arrive = partial(self.answer, handle=handle, deadline=Deadline.of(context))
        async for response in serve_items(requests, arrive, response_type):
            yield response

    async def answer(self, request, handle, deadline):
        self.requests.append(request)
        self.remaining.append(deadline.remaining if deadline else None)
        try:
            if self.before:
                await self.before(request)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        for response in handle(request):
            yield response

    async def start(self, port=0, **settings):
        service = Service(stage_named(self.name).service, self.add, self)
        self.server = Server(
            ServerSettings(**{"drain_seconds": 1, **settings}), port, [service], Metrics(CollectorRegistry())
        )
        await self.server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server.port}"


class ToyEncoder(ToyStage, encoder_pb2_grpc.EncoderServiceServicer):
    name = "encoder"
    add = staticmethod(encoder_pb2_grpc.add_EncoderServiceServicer_to_server)
    space = SPACE

    async def Encode(self, request_iterator, context):
        async for response in self.serve(request_iterator, context, self.encode, EncodeResponse):
            yield response

    def encode(self, request):
        vectors = to_block(np.stack([embed(text) for text in request.texts]), self.space)
        yield EncodeResponse(result=EncodeResult(vectors=vectors, timing=TIMING, model_id="toy-encoder"))


class ToyLvm(ToyStage, lvm_pb2_grpc.LvmServiceServicer):
    name = "lvm"
    add = staticmethod(lvm_pb2_grpc.add_LvmServiceServicer_to_server)
    routes = ("amn", "transformer", "gru", "lstm", "transformer-optimized")
    scale = 1.0

    async def Predict(self, request_iterator, context):
        async for response in self.serve(request_iterator, context, self.predict, PredictResponse):
            yield response

    async def ListModels(self, request, context):
        sources = [DataSource(source="toy corpus", licence="CC0-1.0", documents=2, chunks=12)]
        models = [
            ModelInfo(route=route, name=f"{route}_20260101_000000", space=SPACE, trained_on=sources)
            for route in self.routes
        ]
        return ListModelsResponse(models=models)

    def predict(self, request):
        require_space(request.context, SPACE, "context")
        context = from_block(request.context, "context")
        assert context.shape == (5, 768)
        prediction = to_block(self.scale * next_vector(context, request.route)[None], SPACE)
        yield PredictResponse(
            result=PredictResult(prediction=prediction, model_id=f"toy-{request.route}", timing=TIMING)
        )


class ToySnap(ToyStage, snap_pb2_grpc.SnapServiceServicer):
    """Its bank is `documents`, a list of chunks each; a projection is the vector at the norm of 28."""

    name = "snap"
    add = staticmethod(snap_pb2_grpc.add_SnapServiceServicer_to_server)

    def __init__(self, documents=()):
        super().__init__()
        self.entries = [
            Neighbour(text=text, document_id=str(number), position=position)
            for number, document in enumerate(documents)
            for position, text in enumerate(document)
        ]
        for number, entry in enumerate(self.entries):
            entry.id = number

    async def Project(self, request_iterator, context):
        async for response in self.serve(request_iterator, context, self.project, ProjectResponse):
            yield response

    async def Search(self, request_iterator, context):
        async for response in self.serve(request_iterator, context, self.search, SearchResponse):
            yield response

    def project(self, request):
        if request.policy not in ("", "barycentre", "medoid"):
            raise NotFound(f"unknown policy {request.policy!r}; have barycentre, medoid")
        vector = from_block(request.vector, "vector")
        neighbours = [entry for entry in self.near(vector, 3) if entry.id not in request.exclude_ids]
        if not neighbours:
            raise FailedPrecondition("the exclusions leave none of the entries of the bank; exclude less")
        yield ProjectResponse(
            result=ProjectResult(
                vector=to_block(28 * unit(vector), SPACE),
                neighbours=neighbours,
                weights=BlendWeights(snap=0.75, query=0.15, context=0.10),
                policy=request.policy or "barycentre",
                timing=TIMING,
                bank_id="toy-bank",
                cos_vector=1,
                neighbour_vectors=self.block(neighbours),
            )
        )

    def search(self, request):
        neighbours = self.near(from_block(request.query, "query"), request.k or 16)
        preceding = []
        if neighbours and request.preceding:
            best = neighbours[0]
            preceding = self.entries[best.id - min(best.position, request.preceding) : best.id]
        yield SearchResponse(
            result=SearchResult(
                neighbours=neighbours,
                neighbour_vectors=self.block(neighbours),
                preceding=preceding,
                preceding_vectors=self.block(preceding),
                timing=TIMING,
                bank_id="toy-bank",
            )
        )

    def near(self, vector, count):
        direction = unit(vector)
        found = []
        for entry in self.entries:
            found.append(Neighbour())
            found[-1].CopyFrom(entry)
            found[-1].cosine = float(unit(embed(entry.text)) @ direction)
        return sorted(found, key=lambda entry: -entry.cosine)[:count]

    def block(self, entries):
        return to_block(np.stack([embed(entry.text) for entry in entries]), SPACE) if entries else None


class ToyDecoder(ToyStage, decoder_pb2_grpc.DecoderServiceServicer):
    """Writes a text at once, and remembers it as its cache."""

    name = "decoder"
    add = staticmethod(decoder_pb2_grpc.add_DecoderServiceServicer_to_server)

    def __init__(self, model_id="toy-decoder"):
        super().__init__()
        self.model_id = model_id
        self.cache = set()

    async def Decode(self, request_iterator, context):
        async for response in self.serve(request_iterator, context, self.decode, DecodeResponse):
            yield response

    def decode(self, request):
        vector = from_block(request.vector, "vector", ndim=(1,))
        text = read(vector)
        hit = not request.bypass_cache and text in self.cache
        self.cache.add(text)
        if request.stream_hypotheses and not hit:
            for step in (0, 1):
                hypothesis = Hypothesis(step=step, text=f"{text} {step}", cosine=0.5 + step / 4)
                yield DecodeResponse(hypothesis=hypothesis)
        yield DecodeResponse(
            result=DecodeResult(
                text=text,
                steps=1,
                cosine=0.75,
                rung=1,
                cache_hit=hit,
                rungs=[RungReport(rung=1, text=text, passed=True)],
                timing=TIMING,
                model_id=self.model_id,
            )
        )
