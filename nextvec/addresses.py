"""Where the replicas of a stage listen: a setting whose meaning may change while the process runs.

One replica or several, separated by commas, each of them

    host:port              a name or a number; "dns:///host:port" and "ipv4:///host:port" are the same
    unix:PATH              a socket on this machine

or `file:PATH`, a file with one such address per line, which may be empty. A name stands for all addresses
that DNS has for it, as a headless Service of Kubernetes gives one for each pod that is ready.
"""

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = "file:"
_UNIX = "unix:"
_SCHEME = re.compile(r"(dns|ipv4|ipv6):///")

FILE_SECONDS = 0.25
"""Time between two looks at a file. A look costs microseconds."""

NAME_SECONDS = 1.0
"""Time between two look-ups of a name."""


@dataclass(frozen=True)
class Endpoint:
    """One replica, as a channel reaches it: "ip:port" or "unix:path".

    `name` is the host name that it was found under, which its certificate shows; None where it was given
    as a number.
    """

    address: str
    name: str | None = None


class Addresses:
    """What a setting stands for, now."""

    def __init__(self, setting: str) -> None:
        """Raises ValueError, saying what would be right, where the setting has another form."""
        self._file = Path(setting.removeprefix(FILE)) if setting.startswith(FILE) else None
        self._entries = () if self._file else tuple(map(_checked, setting.split(",")))
        self.refresh_seconds = FILE_SECONDS if self._file else NAME_SECONDS

    async def endpoints(self) -> list[Endpoint]:
        """All replicas, each once. Names that DNS does not know are left out.

        Raises OSError where the file cannot be read or no name at all is known, ValueError where a line of
        the file is no address.
        """
        entries = read_list(self._file) if self._file else self._entries
        found = await asyncio.gather(*map(_resolved, entries), return_exceptions=True)
        failures = [result for result in found if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, OSError) or len(failures) == len(found):
                raise failure
        return list(dict.fromkeys(e for result in found if isinstance(result, list) for e in result))


def read_list(path: Path) -> tuple[str, ...]:
    """The addresses in a file. Raises OSError and ValueError."""
    return tuple(_checked(line) for line in path.read_text(encoding="utf-8").split())


def write_list(path: Path, addresses: Iterable[str]) -> None:
    """Replaces the addresses in a file, at once for all that read it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text("".join(f"{address}\n" for address in addresses), encoding="utf-8")
    os.replace(new, path)


def _checked(entry: str) -> str:
    entry = _SCHEME.sub("", entry.strip(), count=1)
    host, port = _split(entry)
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    if entry.startswith(_UNIX) or (host and not set(host) & set("/ ") and 1 <= number <= 65_535):
        return entry
    raise ValueError(
        f"{entry!r} is no address; must be host:port, several with commas between, or file:PATH, with a port "
        "from 1 to 65535"
    )


def _split(entry: str) -> tuple[str, str]:
    host, _, port = entry.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


async def _resolved(entry: str) -> list[Endpoint]:
    if entry.startswith(_UNIX):
        return [Endpoint(entry)]
    host, port = _split(entry)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        return [Endpoint(_joined(str(address[0]), port), host) for *_, address in found]
    return [Endpoint(_joined(host, port))]


def _joined(ip: str, port: str) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
