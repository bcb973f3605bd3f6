"""`python -m tests.chaos.health SECONDS ADDRESS...`: seconds of health checks, as a JSON list."""

import asyncio
import json
import sys
from collections.abc import Sequence

from benchmarks.load import watch_health
from nextvec.channel import open_channel


async def watched(addresses: Sequence[str], seconds: float) -> list[float]:
    """Seconds of the checks of all servers, asked again and again for so long."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)

    async def watch(address: str) -> list[float]:
        async with open_channel(address) as channel:
            return await watch_health(channel, stop)

    found = await asyncio.gather(*map(watch, addresses))
    return [each for series in found for each in series]


if __name__ == "__main__":
    json.dump(asyncio.run(watched(sys.argv[2:], float(sys.argv[1]))), sys.stdout)
