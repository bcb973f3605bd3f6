"""Is the process here healthy: `python -m nextvec.probe STAGE`, for an image's health check.

It asks the server of this machine as the stage's own settings say where it listens: NEXTVEC_PORT, or
NEXTVEC_PORT_OFFSET for the gateway, and TLS. Exits with 0 where it serves; otherwise says what it found, on
stderr, and exits with 1, or with 2 where the stage or a setting is wrong.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextvec.channel import open_blocking_channel
from nextvec.errors import StartupError
from nextvec.routes import GATEWAY_SERVICE, ROUTES, STAGES
from nextvec.settings import TlsSettings, variable

SECONDS = 2.0
"""Time that a healthy server has to say so; it takes milliseconds."""

_GATEWAY = "gateway"


def target(stage: str, environment: Mapping[str, str]) -> tuple[str, int]:
    """Full name of a stage's service and the port it listens on.

    The gateway's is the last port that it opens. Raises StartupError for a stage or a port that cannot be.
    """
    ports = {known.name: (known.service, "port", known.port, 0) for known in STAGES}
    ports[_GATEWAY] = (GATEWAY_SERVICE, "port_offset", 0, ROUTES[-1].port)
    if stage not in ports:
        raise StartupError(f"unknown stage {stage!r}; have {', '.join(ports)}")
    service, field, usual, base = ports[stage]
    text = environment.get(variable(field)) or str(usual)
    if not text.isdecimal() or not 0 < base + int(text) <= 65_535:
        raise StartupError(f"{variable(field)}={text!r}: must make a port from 1 to 65535")
    return service, base + int(text)


def probe(stage: str, environment: Mapping[str, str]) -> str:
    """Empty where the stage serves, else what was found. Raises StartupError as `target` does."""
    service, port = target(stage, environment)
    address = f"localhost:{port}"  # a name that a certificate can have
    request = health_pb2.HealthCheckRequest(service=service)
    with open_blocking_channel(address, TlsSettings.from_mapping(environment)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(request, timeout=SECONDS)
        except grpc.RpcError as error:
            return f"{service} at {address}: {error.code().name}: {error.details()}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return "" if reply.status == health_pb2.HealthCheckResponse.SERVING else f"{service}: {status}"


def main(arguments: list[str]) -> int:
    """Runs the command and returns its exit code."""
    if len(arguments) != 1:
        print("usage: python -m nextvec.probe STAGE", file=sys.stderr)  # noqa: T201
        return StartupError.exit_code
    try:
        found = probe(arguments[0], os.environ)
    except StartupError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return error.exit_code
    if found:
        print(found, file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
