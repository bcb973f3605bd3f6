"""The standard health service. Watches end at shutdown, so that they do not hold up the drain."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

OVERALL = ""
"""Name under which the whole server's health is asked."""

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Health of each service by its full name, and of the server under the empty name."""

    def __init__(self, services: list[str], *, serving: bool = True) -> None:
        status = _Status.SERVING if serving else _Status.NOT_SERVING
        self._statuses = dict.fromkeys([OVERALL, *services], status)
        self._draining = False
        self._changed = asyncio.Condition()

    async def set(self, service: str, serving: bool) -> None:
        """Sets a service's health; without effect once draining."""
        if not self._draining:
            await self._update({service: _Status.SERVING if serving else _Status.NOT_SERVING})

    async def drain(self) -> None:
        """Everything is NOT_SERVING from now on, and watches end after saying so."""
        self._draining = True
        await self._update(dict.fromkeys(self._statuses, _Status.NOT_SERVING))

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            known = ", ".join(name for name in self._statuses if name)
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"unknown service {request.service!r}; have {known}"
            )
        return _Status(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            async with self._changed:
                await self._changed.wait_for(partial(self._has_news, request.service, told))
            if (status := self._status(request.service)) == told:
                return
            yield _Status(status=status)
            told = status

    def _has_news(self, service: str, told: int | None) -> bool:
        return self._draining or self._status(service) != told

    def _status(self, service: str) -> int:
        return self._statuses.get(service, _Status.SERVICE_UNKNOWN)

    async def _update(self, statuses: dict[str, Any]) -> None:
        async with self._changed:
            self._statuses.update(statuses)
            self._changed.notify_all()
