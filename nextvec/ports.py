"""TCP ports: whether one is free, and blocks of free ones."""

import contextlib
import errno
import ipaddress
import random
import socket
from collections.abc import Iterable

from nextvec.errors import PortInUse, StartupError

# Below the range that outgoing connections take theirs from, so that none takes a port found free here.
_LOWEST, _HIGHEST = 20_000, 32_000


def require_free(host: str, port: int) -> None:
    """Raises PortInUse where another process listens, StartupError where the address cannot be used.

    gRPC says only that binding failed; this says why.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use: stop the process that listens there or choose another port"
            ) from None
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def is_loopback(host: str) -> bool:
    """Whether what is sent to `host`, a name or an address, stays on this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def free_block(count: int, host: str = "127.0.0.1", *, avoid: Iterable[int] = ()) -> int:
    """First of `count` consecutive ports that are free now, none of them in `avoid`.

    Raises StartupError where none is found.
    """
    avoided = set(avoid)
    for _ in range(200):
        base = random.randrange(_LOWEST, _HIGHEST - count)
        block = range(base, base + count)
        if avoided.isdisjoint(block):
            with contextlib.suppress(PortInUse):
                for port in block:
                    require_free(host, port)
                return base
    raise StartupError(f"no {count} free ports in a row between {_LOWEST} and {_HIGHEST} on {host}")
