"""OpenTelemetry traces of calls, served and made; nothing of it is imported unless an endpoint is set."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import grpc

from nextvec.errors import StartupError
from nextvec.logs import TEXT_FIELDS
from nextvec.settings import variable

Facts = Mapping[str, str | int | float | bool]

_PACKAGE = "/nextvec.v1."


def _tell_nobody(facts: Facts) -> None:
    pass


def _no_span(name: str) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class Tracing:
    """Interceptors for servers and channels, which carry a trace from the client to every stage.

    `describe` adds facts to the span of the RPC being served, each as `nextvec.<name>`; `span` opens one
    inside it.
    """

    server: Sequence[grpc.aio.ServerInterceptor] = ()
    client: Sequence[grpc.aio.ClientInterceptor] = ()
    describe: Callable[[Facts], None] = _tell_nobody
    span: Callable[[str], AbstractContextManager[object]] = _no_span


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
    """Traces to a span processor of OpenTelemetry's SDK, without health checks and without users' texts."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(_without_messages(processor))
    tracer = provider.get_tracer("nextvec")

    def ours(call: Any) -> bool:
        return str(call.method).startswith(_PACKAGE)

    def describe(facts: Facts) -> None:
        told = {f"nextvec.{name}": value for name, value in facts.items() if name not in TEXT_FIELDS}
        trace.get_current_span().set_attributes(told)

    return Tracing(
        [aio_server_interceptor(provider, filter_=ours)],
        aio_client_interceptors(provider),
        describe,
        tracer.start_as_current_span,
    )


def _without_messages(inner: Any) -> Any:
    """A span processor that hands spans on without messages of errors, which may quote the user.

    They stand in events that the instrumentation records and in the description of the status; the code of
    the status stays, and the log has the message, where it may have it, under the request's id.
    """
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.trace import Status

    class WithoutMessages(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            inner.on_end(
                ReadableSpan(
                    name=span.name,
                    context=span.context,
                    parent=span.parent,
                    resource=span.resource,
                    attributes=span.attributes,
                    links=span.links,
                    kind=span.kind,
                    status=Status(span.status.status_code),
                    start_time=span.start_time,
                    end_time=span.end_time,
                    instrumentation_scope=span.instrumentation_scope,
                )
            )

        def shutdown(self) -> None:
            inner.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(inner.force_flush(timeout_millis))

    return WithoutMessages()
