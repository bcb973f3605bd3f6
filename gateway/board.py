"""What each port answers with and whether it can, asked of the stages and kept for a moment."""

import asyncio
import time
from collections.abc import Mapping

from gateway.stages import Stages
from nextvec.errors import NextvecError
from nextvec.routes import ROUTES, Route
from nextvec.v1.gateway_pb2 import ListRoutesResponse, RouteInfo
from nextvec.v1.lvm_pb2 import ModelInfo

FRESH_SECONDS = 1.0
"""How long an answer is good for: clients that poll cost the stages one question a second in all."""

_WITHOUT_LVM = ("encoder", "decoder")


class RouteBoard:
    """Lists the routes; `ports` says where each answers."""

    def __init__(self, stages: Stages, ports: Mapping[str, int]) -> None:
        self._stages = stages
        self._ports = ports
        self._lock = asyncio.Lock()
        self._listed: ListRoutesResponse | None = None
        self._until = 0.0

    async def list(self) -> ListRoutesResponse:
        """All routes in order of ports, at most a second old."""
        async with self._lock:
            if self._listed is None or time.monotonic() >= self._until:
                self._listed = await self._ask()
                self._until = time.monotonic() + FRESH_SECONDS
            return self._listed

    async def _ask(self) -> ListRoutesResponse:
        clients = self._stages.clients
        listing = asyncio.create_task(self._models())
        probes = await asyncio.gather(*(client.probe() for client in clients.values()))
        problems = dict(zip(clients, probes, strict=True))
        models, fault = await listing
        return ListRoutesResponse(
            routes=[_info(route, self._ports, models.get(route.name), fault, problems) for route in ROUTES]
        )

    async def _models(self) -> tuple[dict[str, ModelInfo], str]:
        """Models by route, and why there are none where the LVM stage does not say."""
        try:
            return {model.route: model for model in await self._stages.models()}, ""
        except NextvecError as error:
            return {}, error.message


def _info(
    route: Route,
    ports: Mapping[str, int],
    model: ModelInfo | None,
    fault: str,
    problems: Mapping[str, str],
) -> RouteInfo:
    needed = problems if route.has_lvm else _WITHOUT_LVM
    reasons = [problems[stage] for stage in needed if problems[stage]]
    available = not route.has_lvm or model is not None
    # That the LVM stage is down says enough about why its models are not known.
    if not available and not problems["lvm"]:
        reasons.append(fault or f"the LVM stage has no model for {route.name}")
    return RouteInfo(
        port=ports[route.name],
        route=route.name,
        model=model if route.has_lvm else None,
        available=available,
        healthy=not any(problems[stage] for stage in needed),
        reason="; ".join(reasons),
    )
