"""Client channels: balanced over replicas, retried while a budget lasts, kept alive, bounded in size."""

import json
from collections.abc import Mapping
from typing import Any

import grpc

from nextvec.settings import TlsSettings
from nextvec.tls import client_credentials
from nextvec.tracing import NO_TRACING, Tracing

MAX_MESSAGE_BYTES = 32 * 2**20

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # A failure costs one token, a success earns a tenth; below half no call is retried. So retries add at
    # most a tenth to the load of a stage that keeps failing.
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}
"""For clients that leave balancing and retries to gRPC. The gateway does both itself."""


def open_channel(
    address: str,
    tls: TlsSettings | None = None,
    *,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    tracing: Tracing = NO_TRACING,
    name: str | None = None,
    one_replica: bool = False,
) -> grpc.aio.Channel:
    """A channel to "host:port", or to any name gRPC resolves, such as "dns:///host:port".

    A bare "host:port" is resolved by DNS to all its addresses, over which calls go round. Connecting is
    lazy: an address where nobody listens shows at the first call, as StageUnavailable.

    With `one_replica` the address is one server's, and no call is sent twice unless the server never saw it.
    `name` is the name in that server's certificate, where it is not the host of the address.
    """
    options = _options(max_message_bytes, {} if one_replica else SERVICE_CONFIG)
    credentials = client_credentials(tls) if tls else None
    if name and credentials:
        options.append(("grpc.ssl_target_name_override", name))
    if credentials is None:
        return grpc.aio.insecure_channel(_target(address), options=options, interceptors=tracing.client)
    return grpc.aio.secure_channel(
        _target(address), credentials, options=options, interceptors=tracing.client
    )


def open_blocking_channel(
    address: str, tls: TlsSettings | None = None, *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> grpc.Channel:
    """The same for callers without an event loop, without traces."""
    options = _options(max_message_bytes)
    credentials = client_credentials(tls) if tls else None
    if credentials is None:
        return grpc.insecure_channel(_target(address), options=options)
    return grpc.secure_channel(_target(address), credentials, options=options)


def _target(address: str) -> str:
    return address if ":///" in address or address.startswith("unix:") else f"dns:///{address}"


def _options(
    max_message_bytes: int, service_config: Mapping[str, Any] = SERVICE_CONFIG
) -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A stage that restarts is found again within seconds; the default waits up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # gRPC looks a name up again when a connection is lost; by default at most every 30 s.
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ]
