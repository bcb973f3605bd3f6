"""Where Redis is: one server, a master that Sentinels know, or a Redis Cluster, as a URL says it.

    redis://[user:password@]host[:6379][/database]              rediss:// the same over TLS
    unix:///path/to/redis.sock[?db=1]
    redis+sentinel://[user:password@]host[:26379],.../service[/database]     rediss+sentinel://
    redis+cluster://[user:password@]host[:6379],...                          rediss+cluster://

Options follow a question mark: `sentinel_username` and `sentinel_password` for Sentinels that ask for them,
the `ssl_` options of redis-py for TLS, and `username`, `password` and `db` where the URL has no place for
them. A URL may hold a password, so no message quotes any part of one but its scheme.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote

Form = Literal["server", "socket", "sentinel", "cluster"]

_SCHEMES: dict[str, tuple[Form, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORT = 6379
_SENTINEL_PORT = 26379
_TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_OPTIONS = ("username", "password", "db", *_TLS_OPTIONS, *_SENTINEL_OPTIONS)
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:@\[\]\s]+))(?::(\d{1,5}))?")
_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_HINT = "in a password write @ : / ? # and % as %40 %3A %2F %3F %23 and %25"


@dataclass(frozen=True)
class RedisAddress:
    """A URL, taken apart. `nodes` are servers or Sentinels, by host and port; `service` is the Sentinels'."""

    form: Form
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_options: Mapping[str, str | bool] = field(default_factory=dict, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """The address that a URL names; raises ValueError saying what would be right."""
        scheme, colon, rest = url.strip().partition("://")
        if not colon or scheme not in _SCHEMES:
            raise ValueError(f"a Redis URL begins with {', '.join(f'{name}://' for name in _SCHEMES)}")
        form, tls = _SCHEMES[scheme]
        rest, _, query = rest.partition("?")
        options = _options(query)
        place, slash, path = rest.partition("/")
        credentials, _, hosts = place.rpartition("@")
        username, _, password = credentials.partition(":")
        username = unquote(username) or options.get("username", "")
        password = unquote(password) or options.get("password", "")
        database = options.get("db", "")
        tls_options = {name: _tls_option(name, options[name]) for name in _TLS_OPTIONS if name in options}
        if form != "sentinel" and not options.keys().isdisjoint(_SENTINEL_OPTIONS):
            raise ValueError(f"{' and '.join(_SENTINEL_OPTIONS)} belong to redis+sentinel:// URLs")
        if tls_options and not tls:
            raise ValueError("the ssl_ options belong to URLs with TLS, such as rediss://")
        if form == "socket":
            if hosts or not path:
                raise ValueError("a unix:// URL has a path from the root, as in unix:///run/redis.sock")
            return cls(
                form,
                path=slash + unquote(path),
                database=_database(database),
                username=username or None,
                password=password or None,
            )
        service = ""
        if form == "sentinel":
            service, _, path = path.partition("/")
            if not service:
                raise ValueError(
                    "a Sentinel URL names the service, as in redis+sentinel://host:26379/mymaster"
                )
        number = _database(path.rstrip("/") or database)
        if form == "cluster" and number:
            raise ValueError("a Redis Cluster has database 0 alone; leave the database out")
        nodes = _nodes(hosts, _SENTINEL_PORT if form == "sentinel" else _PORT)
        if form == "server" and len(nodes) > 1:
            raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
        return cls(
            form,
            nodes=nodes,
            service=unquote(service),
            database=number,
            tls=tls,
            tls_options=tls_options,
            username=username or None,
            password=password or None,
            sentinel_username=options.get("sentinel_username"),
            sentinel_password=options.get("sentinel_password"),
        )

    def __str__(self) -> str:
        """The address without credentials, to be shown."""
        if self.form == "socket":
            return f"unix://{self.path}"
        scheme = next(name for name, kind in _SCHEMES.items() if kind == (self.form, self.tls))
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        path = "/".join(filter(None, (self.service, str(self.database) if self.form != "cluster" else "")))
        return f"{scheme}://{hosts}" + (f"/{path}" if path else "")


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not options.keys() <= set(_OPTIONS):
        raise ValueError(f"unknown option after the question mark; have {', '.join(_OPTIONS)}; {_HINT}")
    return options


def _database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError(f"the database after the slash is a number, as in redis://localhost:6379/0; {_HINT}")
    return int(text or 0)


def _nodes(hosts: str, default: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for position, text in enumerate(hosts.split(","), 1):
        match = _NODE.fullmatch(text)
        port = int(match[3] or default) if match else 0
        if not match or not 0 < port < 2**16:
            raise ValueError(
                f"host {position} is not of the form host:port with a port of 1 to 65535; {_HINT}"
            )
        nodes.append((match[1] or match[2], port))
    return tuple(nodes)


def _tls_option(name: str, value: str) -> str | bool:
    if name != "ssl_check_hostname":
        return value
    if value.lower() not in _SWITCH:
        raise ValueError(f"{name} is true or false")
    return _SWITCH[value.lower()]
