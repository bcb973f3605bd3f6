"""The one table of routes, ports and stages; everything that needs a name or a port reads it here."""

from dataclasses import dataclass

from nextvec.errors import UnknownRoute


@dataclass(frozen=True)
class Route:
    """One gateway port and the model that answers there."""

    name: str
    port: int
    has_lvm: bool = True

    @property
    def link(self) -> str:
        """Name of the link to the served checkpoint in `artifacts/lvm/models/`; empty without an LVM."""
        return f"{self.name.replace('-', '_')}_v0" if self.has_lvm else ""


@dataclass(frozen=True)
class Stage:
    """One service behind the gateway."""

    name: str
    service: str
    port: int


ROUTES = (
    Route("amn", 9001),
    Route("transformer", 9002),
    Route("gru", 9003),
    Route("lstm", 9004),
    Route("direct", 9005, has_lvm=False),
    Route("transformer-optimized", 9006),
)

STAGES = (
    Stage("encoder", "nextvec.v1.EncoderService", 50051),
    Stage("lvm", "nextvec.v1.LvmService", 50052),
    Stage("snap", "nextvec.v1.SnapService", 50053),
    Stage("decoder", "nextvec.v1.DecoderService", 50054),
)

GATEWAY_SERVICE = "nextvec.v1.GatewayService"

_ROUTES_BY_NAME = {route.name: route for route in ROUTES}
_STAGES_BY_NAME = {stage.name: stage for stage in STAGES}


def route_named(name: str) -> Route:
    """The route called `name`; raises UnknownRoute, listing the known ones."""
    route = _ROUTES_BY_NAME.get(name)
    if route is None:
        raise UnknownRoute(f"unknown route {name!r}; have {', '.join(_ROUTES_BY_NAME)}")
    return route


def stage_named(name: str) -> Stage:
    """The stage called `name`; raises KeyError, for names come from code and not from users."""
    return _STAGES_BY_NAME[name]
