"""What the stages lean on: Redis stops, hangs and fills up, and a model is promoted."""

import asyncio

import redis.asyncio

from benchmarks.results import Result
from nextvec.channel import open_channel
from nextvec.v1.gateway_pb2 import CompleteResponse
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub
from services.lvm import registry
from tests.chaos.bars import held
from tests.chaos.stand import HANG_SECONDS, Load, Stand, question

_ROUTE = "transformer-optimized"
_HUNG_MS = 1500
_CHECKED = 16
"""Answers compared in the short form."""


async def without_redis(stand: Stand) -> list[Result]:
    """Redis stops and comes back, answers nothing for a while, and has no room, all under load."""
    async with Load(stand, repeated=0.6) as load:
        await load.goes_on(15)
        stand.redis.stop()
        await load.goes_on(15)
        stand.redis.start()
        await _used_again(stand, load)
        async with redis.asyncio.Redis(port=stand.redis.port) as client:
            await client.client_pause(_HUNG_MS)
            await load.goes_on(15)
            await asyncio.sleep(_HUNG_MS / 1000)
            await client.config_set("maxmemory-policy", "noeviction")
            await client.config_set("maxmemory", "1mb")
            await load.goes_on(15)
            await client.config_set("maxmemory", "0")
        await load.goes_on(15)
    return [held("redis_failed", load.failed), held("redis_wrong", await _wrong(stand, load))]


async def promoted(stand: Stand) -> list[Result]:
    """Another model takes a route over under load, and is taken back."""
    models = stand.artifacts / "lvm" / "models"
    old, new = registry.production(models, _ROUTE), registry.production(models, "transformer")

    def by(name: str):
        return lambda response: response.model_ids["lvm"].startswith(f"{name}@")

    wrong = 0
    async with Load(stand, route=_ROUTE) as load:
        await load.brings(5, like=by(old.name))
        for name, exchange in (
            (new.name, lambda: registry.promote(new, _ROUTE)),
            (old.name, lambda: registry.rollback(models, _ROUTE)),
        ):
            exchange()
            await load.brings(5, like=by(name))
            since = len(load.responses)
            await load.goes_on(10)
            wrong += sum(not by(name)(response) for _, response in load.responses[since:])
    return [held("promoted_failed", load.failed), held("promoted_wrong", wrong)]


async def _used_again(stand: Stand, load: Load) -> None:
    """Waits until something is written to the empty Redis."""
    async with asyncio.timeout(HANG_SECONDS):
        while not await asyncio.to_thread(stand.redis.keys):
            await load.goes_on(1)


async def _wrong(stand: Stand, load: Load) -> int:
    """Answers of the load that are not what the system says to the same question without its cache."""
    given: dict[tuple[str, ...], list[CompleteResponse]] = {}
    for messages, response in load.responses:
        given.setdefault(messages, []).append(response)
    # Those asked most come first, for only they can have come from a cache.
    often = sorted(given, key=lambda messages: -len(given[messages]))
    wrong = 0
    async with open_channel(stand.address("direct"), one_replica=True) as channel:
        stub = GatewayServiceStub(channel)
        for messages in often[: _CHECKED if stand.short else None]:
            request = question(messages, bypass_cache=True)
            right = (await stub.Complete(request, timeout=HANG_SECONDS)).chunks[0].text
            wrong += sum(response.chunks[0].text != right for response in given[messages])
    return wrong
