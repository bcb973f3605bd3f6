"""The gateway's process: `python -m gateway`, set by NEXTVEC_ variables. Six servers in one loop."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from gateway.authentication import KeyInterceptor
from gateway.board import RouteBoard
from gateway.breaker import Breaker
from gateway.completions import Admission, Completions
from gateway.cutting import Cutter
from gateway.keys import Keyring
from gateway.limits import Limits
from gateway.metering import KeyMetrics, Meter
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.service import GatewayService
from gateway.settings import GatewaySettings
from gateway.stages import Stages
from nextvec.errors import StartupError
from nextvec.family import Family, FamilyError
from nextvec.logs import configure_logs, get_log
from nextvec.metrics import Metrics, Model
from nextvec.ports import is_loopback
from nextvec.routes import GATEWAY_SERVICE, ROUTES
from nextvec.server import Server, Service, keep_what_is_loaded, run, serve
from nextvec.settings import variable
from nextvec.tracing import start_tracing
from nextvec.v1.gateway_pb2_grpc import add_GatewayServiceServicer_to_server

log = get_log(__name__)


async def serve_gateway(
    settings: GatewaySettings,
    cutter: Cutter,
    space: str,
    ports: Mapping[str, int],
    *,
    registry: CollectorRegistry | None = None,
    stop: asyncio.Event | None = None,
    ready: Callable[[Mapping[str, int]], None] = lambda ports: None,
) -> None:
    """Serves every route on its port of `ports`, 0 for a free one, until stopped.

    `cutter` and `space` are the family's. `ready` gets the ports once all of them listen.
    """
    metrics = Metrics(registry or CollectorRegistry())
    own_metrics = GatewayMetrics(metrics.registry)
    metrics.models("gateway", lambda: [Model(space, space)])
    bound = dict(ports)
    keyring = _keyring(settings)
    tracing = start_tracing("gateway", settings.otlp_endpoint)
    stages = Stages(settings, own_metrics, tracing)
    completions = Completions(
        Pipeline(stages, cutter, space, _breaker(settings, own_metrics)),
        Limits(settings.max_chunks, bound),
        Admission(settings.max_in_flight),
        Meter(keyring, KeyMetrics(metrics.registry)),
        own_metrics,
        budget_seconds=settings.budget_seconds,
    )
    board = RouteBoard(stages, bound)
    servers = {}
    for route in ROUTES:
        servicer = GatewayService(route, completions, board, tracing)
        service = Service(GATEWAY_SERVICE, add_GatewayServiceServicer_to_server, servicer)
        guards = [KeyInterceptor(keyring, route.name)] if keyring else []
        servers[route.name] = Server(
            settings, ports[route.name], [service], metrics, interceptors=guards, tracing=tracing
        )

    def listening() -> None:
        bound.update((name, server.port) for name, server in servers.items())
        ready(bound)

    await serve([*servers.values()], settings, metrics, stop=stop, ready=listening, close=[stages.close])


def _keyring(settings: GatewaySettings) -> Keyring | None:
    if settings.api_keys_file is None:
        return None
    if settings.tls_certificate is None and not is_loopback(settings.host):
        log.warning(
            "api keys in plain text",
            host=settings.host,
            remedy=f"set {variable('tls_certificate')} and {variable('tls_key')}, or end TLS in front",
        )
    return Keyring(settings.api_keys_file)


def _breaker(settings: GatewaySettings, metrics: GatewayMetrics) -> Breaker:
    """The decoder's; the decoder can be held against it where it had a quarter of its time."""
    return Breaker(
        "decoder",
        metrics,
        share=settings.breaker_share,
        window_seconds=settings.breaker_window_seconds,
        open_seconds=settings.breaker_open_seconds,
        fair_seconds=settings.decode_seconds / 4,
    )


async def main() -> None:
    """Reads the environment and serves."""
    settings = GatewaySettings.from_mapping(os.environ)
    configure_logs(settings.log_level, settings.log_format, texts=settings.log_text)
    try:
        family = Family.open(settings.family, settings.artifacts / "families")
        cutter = Cutter(family.count_tokens, family.token_limit)
        space = family.space
    except (FamilyError, OSError) as error:
        raise StartupError(f"{error}; see {variable('family')} and {variable('artifacts')}") from error
    ports = {route.name: route.port + settings.port_offset for route in ROUTES}
    keep_what_is_loaded()
    await serve_gateway(settings, cutter, space, ports)


if __name__ == "__main__":
    sys.exit(run(main))
