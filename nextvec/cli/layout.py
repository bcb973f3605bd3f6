"""Which processes make up a system, and which of them listens where: the one list behind `up` and `demo`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nextvec.addresses import FILE
from nextvec.cli.system import ProcessSpec
from nextvec.errors import StartupError
from nextvec.ports import free_block, require_free
from nextvec.routes import ROUTES, STAGES, route_named
from nextvec.settings import variable

PORT_BASE = ROUTES[0].port
STAGE_PORT_BASE = STAGES[0].port

GATEWAY = "gateway"

# Defaults for a stage that shares the machine with the others. A prediction is a few milliseconds' work for
# one thread; more of them wait for each other whenever another stage computes.
_SHARING = {"lvm": {"threads": "1"}}

# What one process is told, and another must not take over.
_OF_ONE_PROCESS = ("port", "port_offset", "metrics_port")


@dataclass(frozen=True)
class Layout:
    """Ports of a system on one machine: the gateway's by route, the stages' with one for each replica."""

    host: str
    port_offset: int
    stages: Mapping[str, tuple[int, ...]]

    @classmethod
    def at(
        cls,
        port_base: int | None,
        stage_port_base: int | None,
        *,
        host: str = "127.0.0.1",
        replicas: Mapping[str, int] | None = None,
    ) -> "Layout":
        """Consecutive ports from each base; None, and replicas beyond the first, take ports free now.

        Raises PortInUse where one is taken, StartupError where two are the same.
        """
        first = free_block(len(ROUTES), host) if port_base is None else port_base
        taken = list(range(first, first + len(ROUTES)))
        if stage_port_base is None:
            stage_port_base = free_block(len(STAGES), host, avoid=taken)
        taken += range(stage_port_base, stage_port_base + len(STAGES))
        stages = {}
        for index, stage in enumerate(STAGES):
            ports = [stage_port_base + index]
            for _ in range((replicas or {}).get(stage.name, 1) - 1):
                ports.append(free_block(1, host, avoid=taken))
                taken.append(ports[-1])
            stages[stage.name] = tuple(ports)
        layout = cls(host, first - PORT_BASE, stages)
        layout.require_free()
        return layout

    @property
    def routes(self) -> dict[str, int]:
        """Port of every route."""
        return {route.name: route.port + self.port_offset for route in ROUTES}

    def address(self, route: str) -> str:
        """Where a client reaches a route."""
        return f"{self.host}:{route_named(route).port + self.port_offset}"

    def require_free(self) -> None:
        """Raises PortInUse unless every port is free, StartupError where two are the same."""
        ports = [*self.routes.values(), *(port for ports in self.stages.values() for port in ports)]
        if len(set(ports)) < len(ports):
            raise StartupError(f"ports overlap: {sorted(ports)}; choose bases farther apart")
        for port in ports:
            require_free(self.host, port)

    def as_dict(self) -> dict[str, object]:
        """For people's scripts: where everything listens."""
        return {
            "host": self.host,
            "routes": self.routes,
            "stages": {k: list(v) for k, v in self.stages.items()},
        }


def processes(
    layout: Layout,
    environment: Mapping[str, str],
    *,
    family: str,
    artifacts: Path,
    redis_url: str | None = None,
    lists: Path | None = None,
) -> list[ProcessSpec]:
    """The processes of a whole system; what `environment` sets holds where this does not say otherwise.

    The gateway is told the stages' addresses, or, with a folder `lists`, to follow the file in it that has
    the name of the stage.
    """
    shared = {k: v for k, v in environment.items() if k not in {variable(name) for name in _OF_ONE_PROCESS}}
    shared |= {
        variable("host"): layout.host,
        variable("family"): family,
        variable("artifacts"): str(artifacts),
    }
    if redis_url is not None:
        shared[variable("redis_url")] = redis_url
    specs = [
        stage_process(stage.name, port, shared, replica)
        for stage in STAGES
        for replica, port in enumerate(layout.stages[stage.name], 1)
    ]
    addresses = {
        variable(f"{name}_address"): f"{FILE}{lists / name}"
        if lists
        else ",".join(f"{layout.host}:{port}" for port in ports)
        for name, ports in layout.stages.items()
    }
    front = {**shared, **addresses, variable("port_offset"): str(layout.port_offset)}
    return [*specs, ProcessSpec(GATEWAY, GATEWAY, tuple(layout.routes.values()), front, last=True)]


def stage_process(name: str, port: int, environment: Mapping[str, str], replica: int = 1) -> ProcessSpec:
    """One replica of one stage."""
    own = {variable(field): value for field, value in _SHARING.get(name, {}).items()}
    told = {**own, **environment, variable("port"): str(port)}
    return ProcessSpec(replica_name(name, replica), f"services.{name}", (port,), told)


def replica_name(stage: str, replica: int) -> str:
    """The name of a process: that of the stage, and from the second on a number."""
    return stage if replica == 1 else f"{stage}-{replica}"


def another(spec: ProcessSpec, name: str, port: int) -> ProcessSpec:
    """One more process like `spec`, under another name and on another port."""
    told = {**spec.environment, variable("port"): str(port)}
    return replace(spec, name=name, ports=(port,), environment=told)


def artifacts_folder() -> Path:
    """The folder with families and models.

    That of the setting, where it is given; else `artifacts` here, else that of the installed checkout.
    """
    if given := os.environ.get(variable("artifacts")):
        return Path(given).resolve()
    here = Path("artifacts")
    if (here / "families").is_dir():
        return here.resolve()
    return Path(__file__).resolve().parents[2] / "artifacts"
