"""OpenTelemetry traces of calls, served and made; nothing of it is imported unless an endpoint is set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from nextvec.errors import StartupError
from nextvec.settings import variable


@dataclass(frozen=True)
class Tracing:
    """Interceptors for servers and channels, which carry a trace from the client to every stage."""

    server: Sequence[grpc.aio.ServerInterceptor] = ()
    client: Sequence[grpc.aio.ClientInterceptor] = ()


NO_TRACING = Tracing()


def start_tracing(service: str, endpoint: str | None) -> Tracing:
    """Traces to the OTLP collector at `endpoint` ("http://host:4317"), as `service`; without one, none."""
    if endpoint is None:
        return NO_TRACING
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise StartupError(
            f"{variable('otlp_endpoint')} is set and OpenTelemetry is not installed: "
            "pip install 'nextvec[otel]', or unset it"
        ) from None
    return trace_to(service, BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))


def trace_to(service: str, processor: Any) -> Tracing:
    """Traces to a span processor of OpenTelemetry's SDK."""
    from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(processor)
    return Tracing([aio_server_interceptor(provider)], aio_client_interceptors(provider))
