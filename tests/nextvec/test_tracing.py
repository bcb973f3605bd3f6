import sys

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nextvec.errors import InvalidInput, StartupError
from nextvec.stream import ask
from nextvec.tracing import NO_TRACING, start_tracing, trace_to
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse


async def test_a_trace_reaches_from_the_client_into_the_server(serving):
    async def answer(request):
        if request.texts:
            raise InvalidInput("no")
        return EncodeResponse()

    exporter = InMemorySpanExporter()
    async with serving(answer, tracing=trace_to("toy", SimpleSpanProcessor(exporter))) as toy:
        await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
        with pytest.raises(InvalidInput):
            await ask(toy.stub.Encode, EncodeRequest(texts=["x"]), stage="encoder")
    spans = exporter.get_finished_spans()
    servers = [span for span in spans if span.kind.name == "SERVER"]
    clients = [span for span in spans if span.kind.name == "CLIENT"]
    assert {span.parent.span_id for span in servers} == {span.context.span_id for span in clients}
    assert len(servers) == 2


def test_nothing_is_traced_without_an_endpoint():
    assert start_tracing("toy", None) is NO_TRACING


def test_an_endpoint_without_the_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(StartupError, match=r"pip install 'nextvec\[otel\]'"):
        start_tracing("toy", "http://localhost:4317")
