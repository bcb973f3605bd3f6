"""Servers: one per port, several in one loop; health, reflection, metrics, and a graceful end."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, start_http_server

from nextvec.errors import StartupError
from nextvec.health import Health
from nextvec.interceptor import RequestInterceptor
from nextvec.logs import get_log
from nextvec.metrics import Metrics
from nextvec.ports import require_free
from nextvec.settings import ServerSettings
from nextvec.tls import server_credentials
from nextvec.tracing import NO_TRACING, Tracing

log = get_log(__name__)


@dataclass(frozen=True)
class Service:
    """A servicer, its full name in the protocol, and the generated function that adds it to a server."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object


class Server:
    """Services on one port, with health for each of them and overall, and reflection."""

    def __init__(
        self,
        settings: ServerSettings,
        port: int,
        services: Sequence[Service],
        metrics: Metrics,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        tracing: Tracing = NO_TRACING,
        serving: bool = True,
    ) -> None:
        """`port` 0 takes a free one; `interceptors` run inside the one that maps errors, so may raise."""
        self.port = port
        self._settings = settings
        names = [service.name for service in services]
        self.health = Health(names, serving=serving)
        self._server = grpc.aio.server(
            interceptors=[*tracing.server, RequestInterceptor(metrics, tracing), *interceptors],
            options=_options(settings),
        )
        for service in services:
            service.add(service.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        standard = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection([*names, *standard], self._server)

    async def start(self) -> None:
        """Binds the port, which `port` is from then on. Raises PortInUse or StartupError."""
        host = self._settings.host
        require_free(host, self.port)
        address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        credentials = server_credentials(self._settings)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            hint = "; are the TLS files a matching certificate and key in PEM?" if credentials else ""
            raise StartupError(f"cannot listen on {address}: {error}{hint}") from None
        await self._server.start()
        log.info("listening", host=host, port=self.port, tls=credentials is not None)

    async def drain(self) -> None:
        """Turns NOT_SERVING, refuses new RPCs, and gives those in flight `drain_seconds` to finish."""
        await self.health.drain()
        await self._server.stop(self._settings.drain_seconds)


async def serve(
    servers: Sequence[Server],
    settings: ServerSettings,
    metrics: Metrics,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], None] = lambda: None,
    close: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Starts the servers, calls `ready`, and drains them all on SIGTERM, SIGINT or when `stop` is set.

    Then awaits each of `close`, such as the `close` of a batch queue. Raises StartupError where a port
    cannot be had; servers that had started are stopped by then.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    exporter = _start_exporter(settings, metrics.registry)
    try:
        for server in servers:
            await server.start()
        ready()
        await stop.wait()
        log.info("draining", seconds=settings.drain_seconds)
    finally:
        await asyncio.gather(*(server.drain() for server in servers))
        for closing in close:
            await closing()
        exporter()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log.info("stopped")


def keep_what_is_loaded() -> None:
    """Has the garbage collector leave alone what a server has loaded by now, which stays to its end.

    Looking through all modules and models stops the loop for a quarter of a second each time.
    """
    gc.collect()
    gc.freeze()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Runs a process's `main` to its end and returns the exit code.

    A StartupError, whether from building the settings or from starting, is printed as it is, without a
    traceback.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except StartupError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # More calls of a client than this wait on its side; one client cannot hold any number of them open.
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        # A client that went without a word is found out, and what it held is freed; by default in two hours.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Otherwise two processes share the port in silence, each getting some of the requests.
        ("grpc.so_reuseport", 0),
        # With no limit of grace: calls in flight on a connection that has come of age run to their end.
        ("grpc.max_connection_age_ms", int(1000 * settings.max_connection_age_seconds)),
        # Clients send keepalives every 30 s; by default a server takes that for abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _start_exporter(settings: ServerSettings, registry: CollectorRegistry) -> Callable[[], None]:
    if settings.metrics_port is None:
        return lambda: None
    require_free(settings.host, settings.metrics_port)
    server, thread = start_http_server(settings.metrics_port, settings.host, registry)
    log.info("metrics", host=settings.host, port=server.server_port)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
