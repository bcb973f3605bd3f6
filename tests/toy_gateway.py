"""A gateway without stages: it answers with what it was asked, and records it."""

from concurrent.futures import ThreadPoolExecutor

import grpc

from nextvec.errors import NextvecError, status_of, to_item, trailing_metadata
from nextvec.routes import ROUTES
from nextvec.v1 import gateway_pb2 as pb
from nextvec.v1.decoder_pb2 import Hypothesis
from nextvec.v1.gateway_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from nextvec.v1.lvm_pb2 import DataSource, ModelInfo


class ToyGateway(GatewayServiceServicer):
    """Chunk n of the answer is "chunk n"; with `failure` set, every request fails with it."""

    def __init__(self):
        self.requests = []
        self.metadata = {}
        self.sources = [DataSource(source="a corpus", licence="CC0-1.0", documents=7, chunks=90)]
        self.failure: NextvecError | None = None
        self.server = grpc.server(ThreadPoolExecutor(4))
        add_GatewayServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Complete(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        self.requests.append(request)
        if self.failure:
            context.set_trailing_metadata(trailing_metadata(self.failure))
            context.abort(status_of(self.failure), self.failure.message)
        return _answer(request)

    def Generate(self, request_iterator, context):
        self.metadata = dict(context.invocation_metadata())
        for item in request_iterator:
            self.requests.append(item.request)
            if self.failure:
                yield pb.GenerateResponse(request_id=item.request_id, error=to_item(self.failure))
                continue
            answer = _answer(item.request)
            for chunk in answer.chunks:
                formed = Hypothesis(step=0, text=f"first {chunk.text}", cosine=0.5)
                event = pb.HypothesisFormed(chunk=chunk.index, hypothesis=formed)
                yield pb.GenerateResponse(request_id=item.request_id, hypothesis=event)
                yield pb.GenerateResponse(request_id=item.request_id, chunk=chunk)
            yield pb.GenerateResponse(request_id=item.request_id, complete=answer)

    def ListRoutes(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        routes = []
        for route in ROUTES:
            model = ModelInfo(
                route=route.name, name=f"{route.name}_1", parameters=1234, trained_on=self.sources
            )
            routes.append(
                pb.RouteInfo(
                    port=route.port,
                    route=route.name,
                    model=model if route.has_lvm else None,
                    available=True,
                    healthy=route.name != "gru",
                    reason="the lvm stage sleeps" if route.name == "gru" else "",
                )
            )
        return pb.ListRoutesResponse(routes=routes)


def _answer(request):
    chunks = [
        pb.Chunk(index=index, text=f"chunk {index} [of text]", steps=1, cosine=0.75)
        for index in range(request.max_chunks or 1)
    ]
    context = pb.ContextInfo(source=pb.CONTEXT_SOURCE_SEQ, texts=["a"] * 5, own=5)
    return pb.CompleteResponse(
        route=request.route or "amn", chunks=chunks, context=context, degraded=["chunk 0: no bank"]
    )
