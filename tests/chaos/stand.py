"""A real system with a Redis of its own, made to be broken: its processes, metrics, and load on it."""

import asyncio
import json
import os
import random
import shutil
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import grpc
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Answer, Report, Texts, closed_loop
from benchmarks.redis_process import RedisProcess
from nextvec.channel import open_channel
from nextvec.cli.deployment import Deployment
from nextvec.cli.layout import GATEWAY, Layout, artifacts_folder, processes
from nextvec.cli.system import System
from nextvec.client import completion_request
from nextvec.errors import from_rpc
from nextvec.settings import PREFIX, variable
from nextvec.v1.gateway_pb2 import CompleteRequest, CompleteResponse
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub

HANG_SECONDS = 600
"""For anything that has to happen some time, on a machine that may be busy."""

_DRAIN_SECONDS = 60
_BUDGETS = ("budget", "encode", "lvm", "snap", "decode")
_KNOWN = 16
"""Questions that a load asks again and again."""

SENTENCES = (
    "The ferry left the island before the fog came down",
    "An old woman counted her coins on the kitchen table",
    "The engineers tested the bridge with forty loaded trucks",
    "Snow covered the tracks that led to the northern camp",
    "A clerk sorted the letters into long wooden drawers",
    "The orchestra tuned while the last guests found their seats",
    "Bees returned to the orchard in the third week of April",
    "The captain read the message twice and folded it away",
)
"""With room for one more word each."""


@dataclass
class Stand:
    """A running system; `news` is what it tells of its processes.

    `short` asks for scenarios that say whether all works, not how well.
    """

    deployment: Deployment
    layout: Layout
    redis: RedisProcess
    artifacts: Path
    logs: Path
    news: list[str]
    short: bool

    def choose(self, short: float, long: float) -> float:
        """The one for this form."""
        return short if self.short else long

    def address(self, name: str) -> str:
        """Where a route's port or the first replica of a stage listens."""
        if name in self.layout.stages:
            return f"{self.layout.host}:{self.deployment.process(name).spec.ports[0]}"
        return self.layout.address(name)

    def pids(self) -> dict[str, int]:
        """Process ids by name, the gateway's included."""
        names = [name for found in self.deployment.replicas.values() for name in found]
        return {name: self.deployment.process(name).handle.pid for name in (*names, GATEWAY)}

    async def decoders(self, count: int) -> list[str]:
        """Brings the decoder to so many replicas and returns their names."""
        if len(self.deployment.replicas["decoder"]) != count:
            await self.deployment.scale("decoder", count, HANG_SECONDS)
        return self.deployment.replicas["decoder"]

    async def kill(self, *names: str) -> None:
        """Kills processes, and returns when that has been noticed; they are started again."""
        for name in names:
            self.deployment.kill(name)
        async with asyncio.timeout(HANG_SECONDS):
            while self.deployment.complete:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def whole(self) -> None:
        """Waits until every process runs and serves."""
        async with asyncio.timeout(HANG_SECONDS):
            while not self.deployment.complete:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def total(self, process: str, metric: str, **labels: str) -> float:
        """The sum of a process's samples of a metric that have these labels."""
        port = await self._metrics_port(process)
        text = await asyncio.to_thread(_read, f"http://{self.layout.host}:{port}/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == metric and labels.items() <= sample.labels.items()
        )

    def bugs(self) -> list[str]:
        """Lines of the processes' logs that tell of a bug."""
        return [
            line[:400]
            for path in sorted(self.logs.glob("*.log"))
            for line in path.read_text(encoding="utf-8").splitlines()
            if '"event": "bug"' in line
        ]

    async def _metrics_port(self, process: str) -> int:
        # A process that was started again has another port, and the log goes on.
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                lines = (self.logs / f"{process}.log").read_text(encoding="utf-8").splitlines()
                found = [json.loads(line) for line in lines if '"event": "metrics"' in line]
                if found:
                    return int(found[-1]["port"])
                await asyncio.sleep(0.05)


@asynccontextmanager
async def standing(
    folder: Path,
    *,
    short: bool,
    patient: bool = True,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Stand]:
    """Runs a system of one process for each stage over a copy of the artifacts; `environment` has settings.

    A patient one cuts nothing off, so that what fails does so because of what is done to it.
    """
    artifacts, logs, lists = folder / "artifacts", folder / "logs", folder / "lists"
    # A copy through and through: the registry writes beside its models, and weights are made corrupt.
    for part in (Path("families", "mini"), Path("lvm", "models")):
        shutil.copytree(artifacts_folder() / part, artifacts / part, symlinks=True)
    # Settings made for another system do not reach this one.
    told = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    if patient:
        told |= {variable(f"{part}_seconds"): str(HANG_SECONDS) for part in _BUDGETS}
    told |= {"OMP_NUM_THREADS": "1", variable("threads"): "1", variable("drain_seconds"): str(_DRAIN_SECONDS)}
    told |= environment or {}
    layout = Layout.at(None, None)
    with RedisProcess(folder) as redis:
        specs = [
            replace(spec, environment={**spec.environment, variable("metrics_port"): "0"})
            for spec in processes(
                layout, told, family="mini", artifacts=artifacts, redis_url=redis.url, lists=lists
            )
        ]
        system = System(specs, layout.host, log_folder=logs, grace_seconds=_DRAIN_SECONDS + 5)
        news: list[str] = []
        async with Deployment(system, lists, layout.host, tell=news.append) as deployment:
            await deployment.healthy(HANG_SECONDS, lambda spec, seconds: None)
            yield Stand(deployment, layout, redis, artifacts, logs, news, short)


class Load:
    """Requests at a gateway in the background, while something happens to the system.

    Nothing is sent twice by the client, so that whatever the gateway fails at is seen.
    """

    def __init__(
        self, stand: Stand, *, route: str = "direct", clients: int = 4, repeated: float = 0.0
    ) -> None:
        """A share `repeated` of the requests are of a few that come again."""
        self.responses: list[tuple[tuple[str, ...], CompleteResponse]] = []
        self._channel = open_channel(stand.address(route), one_replica=True)
        self._stub = GatewayServiceStub(self._channel)
        self._clients = clients
        self._ended = 0
        self._stop = asyncio.Event()
        # Other texts than those of any load before, which caches may know.
        self._texts = Texts(SENTENCES, seed=random.randrange(10**6))
        self._known = [self._texts.next() for _ in range(_KNOWN)]
        self._repeated = repeated
        self._report: Report | None = None

    async def __aenter__(self) -> Self:
        self._started = time.monotonic()
        self._running = asyncio.create_task(
            closed_loop(self._send, clients=self._clients, pause=0.05, stop=self._stop)
        )
        await self.goes_on(self._clients)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._stop.set()
        async with asyncio.timeout(HANG_SECONDS):
            self._report = await self._running
        await self._channel.close()

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._started

    @property
    def report(self) -> Report:
        """All requests, once it is over."""
        assert self._report is not None
        return self._report

    @property
    def failed(self) -> int:
        """Requests with no answer, or with a lesser one."""
        return sum(o.code != "OK" or o.answer.degraded for o in self.report.outcomes)

    async def goes_on(self, count: int) -> None:
        """Waits until so many more requests have ended."""
        until = self._ended + count
        async with asyncio.timeout(HANG_SECONDS):
            while self._ended < until:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def brings(self, count: int, like: Callable[[CompleteResponse], bool]) -> None:
        """Waits for so many new answers in a row that are as `like` says."""
        since = len(self.responses)
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                latest = [response for _, response in self.responses[since:]][-count:]
                if len(latest) == count and all(map(like, latest)):
                    return
                await self.goes_on(1)

    def carried(self, moment: float) -> float:
        """Seconds until all that was under way at `moment`, or began within half a second, had ended."""
        ends = [
            outcome.at + outcome.seconds
            for outcome in self.report.outcomes
            if outcome.at <= moment + 0.5 and outcome.at + outcome.seconds >= moment
        ]
        return max(ends, default=moment) - moment

    async def _send(self) -> Answer:
        known = random.random() < self._repeated
        messages = random.choice(self._known) if known else self._texts.next()
        request = question(messages)
        try:
            response = await self._stub.Complete(request, timeout=HANG_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc(error, "the gateway") from None
        finally:
            self._ended += 1
        self.responses.append((tuple(messages), response))
        return Answer(
            extractive=any(chunk.extractive for chunk in response.chunks),
            cached=all(chunk.cache_hit for chunk in response.chunks),
            degraded=bool(response.degraded),
        )


def question(messages: Sequence[str], **options: bool) -> CompleteRequest:
    """A request that costs little: a single correction."""
    return completion_request(messages, rungs=(1,), **options)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as page:
        return str(page.read().decode())
