"""Service times of every process of a running system, for capacity planning."""

import time
from collections.abc import Mapping

from benchmarks import machine
from nextvec.capacity.service_times import PROCESSES, ServiceTimes
from nextvec.client import AsyncClient
from nextvec.errors import StageUnavailable

Seconds = dict[str, list[float]]

_FEWEST = 20


async def measure(address: str, pids: Mapping[str, int], texts: list[str], how: str) -> ServiceTimes:
    """Sends every text to the gateway at `address`, once new and once again, after one to warm up.

    A process's service time is the processor time that it spends on a request: what one with a core of its
    own takes, whatever else runs on this machine. `pids` has every process's id; `how` says what was run, for
    whoever reads the figures later. Raises StageUnavailable where most answers went without a stage.
    """
    hit: Seconds = {process: [] for process in PROCESSES}
    miss: Seconds = {process: [] for process in PROCESSES}
    async with AsyncClient(address) as client:
        await client.complete("The kettle began to sing. She took it off the stove.")
        for text in texts:
            for times, cached in ((miss, False), (hit, True)):
                before = _spent(pids)
                answer = (await client.complete(text)).response
                after = _spent(pids)
                if answer.degraded or answer.chunks[0].cache_hit != cached:
                    continue
                for process in PROCESSES:
                    times[process].append(after[process] - before[process])
    measured = min(len(miss["gateway"]), len(hit["gateway"]))
    if measured < _FEWEST:
        raise StageUnavailable(
            f"only {measured} of {len(texts)} requests were answered by all stages; {_FEWEST} are needed: "
            "measure while the machine is less busy"
        )
    about = {"how": how, "requests": str(measured), **machine.description()}
    return ServiceTimes.of(hit, miss, about)


def _spent(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds of each process so far.

    Linux has a clock for every process, whose number clock_getcpuclockid(3) makes of the id like this.
    """
    return {process: time.clock_gettime(~pids[process] << 3 | 2) for process in PROCESSES}
