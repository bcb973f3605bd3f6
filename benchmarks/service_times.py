"""Service times of every process of a running system, one request at a time, for capacity planning."""

from benchmarks import machine
from nextvec.capacity.service_times import PROCESSES, ServiceTimes
from nextvec.client import AsyncClient
from nextvec.v1.gateway_pb2 import CompleteResponse

GATEWAY = "gateway"

Seconds = dict[str, list[float]]


async def measure(address: str, texts: list[str], how: str) -> ServiceTimes:
    """Sends every text to the gateway at `address`, once new and once again, after one to warm up.

    The gateway's time is what is left of a request when its stages' are taken away; the way between the
    processes is part of it. `how` says what was run, for whoever reads the figures later.
    """
    hit: Seconds = {process: [] for process in PROCESSES}
    miss: Seconds = {process: [] for process in PROCESSES}
    async with AsyncClient(address) as client:
        await client.complete("The kettle began to sing. She took it off the stove.")
        for text in texts:
            _add(miss, (await client.complete(text)).response)
            _add(hit, (await client.complete(text)).response)
    about = {"how": how, "requests": str(len(texts)), **machine.description()}
    return ServiceTimes.of(hit, miss, about)


def _add(times: Seconds, response: CompleteResponse) -> None:
    own = response.total_ms
    spent = dict.fromkeys(PROCESSES, 0.0)
    for timing in response.timings:
        spent[timing.stage] += timing.compute_ms
        own -= timing.queue_ms + timing.compute_ms
    spent[GATEWAY] = max(own, 0.0)
    for process, ms in spent.items():
        times[process].append(ms / 1000)
