"""A system whose stages are scaled, restarted and kept alive while it runs.

It does on one machine what Kubernetes does in a cluster, and the gateway follows both by the same code: a
file per stage lists the replicas in service, as a headless Service does.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nextvec.addresses import FILE_SECONDS, write_list
from nextvec.cli.layout import another, replica_name
from nextvec.cli.system import Process, ProcessSpec, System
from nextvec.errors import InvalidInput, NextvecError, NotFound, StartupError
from nextvec.ports import free_block

MAX_REPLICAS = 64
"""Processes of one stage on one machine."""

SETTLE_SECONDS = 4 * FILE_SECONDS
"""Time after which the gateway has certainly read a changed list, and sends nothing to who left it."""

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
"""Pause before a process that died is started again: doubled each time, up to the latter."""

STEADY_SECONDS = 60.0
"""A process that lived as long is taken to be in order; its next death counts as the first."""


_REVIVE_SECONDS = 120


@dataclass(eq=False)
class Replica:
    """One process of a stage, wherever it is between its start and its end."""

    spec: ProcessSpec
    process: Process | None = None
    serving: bool = False  # healthy, and in the list that the gateway follows
    deaths: int = 0
    reviving: "asyncio.Task[None] | None" = None

    @property
    def backoff_seconds(self) -> float:
        """Pause before it is started again."""
        return min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (self.deaths - 1))


class Deployment:
    """Stages in any number of replicas, and the processes in front of them. Use as a context manager.

    A replica that dies is started again, with a growing pause; one that is to leave is taken from the list
    first and told to stop when the gateway sends it nothing more. So neither loses a request.
    """

    def __init__(
        self,
        system: System,
        lists: Path,
        host: str,
        *,
        tell: Callable[[str], None] = lambda news: None,
    ) -> None:
        """Writes a list per stage into the folder `lists`, which is the gateway's too; `tell` gets news."""
        self._system = system
        self._lists = lists
        self._host = host
        self._tell = tell
        self._front = [spec for spec in system.specs if spec.last]
        self._stages: dict[str, list[Replica]] = {}
        for spec in system.specs:
            if not spec.last:
                self._stages.setdefault(_stage(spec), []).append(Replica(spec))
        self._changing = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False
        self.front_died: asyncio.Future[Process] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._lists.mkdir(parents=True, exist_ok=True)
        # Before they are healthy, so that the gateway knows them all when the system is said to be up.
        for stage, replicas in self._stages.items():
            write_list(self._lists / stage, map(self._address, replicas))
        await self._system.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._stopping = True
        if self._watching:
            await _cancel([self._watching])
        await _cancel([replica.reviving for replica in self._replicas() if replica.reviving])
        await self._system.stop()

    async def healthy(self, timeout: float, ready: Callable[[ProcessSpec, float], None]) -> None:
        """Waits until every process is healthy, as `System.healthy` does; from then on, watches over them."""
        await self._system.healthy(timeout, ready)
        running = {process.spec.name: process for process in self._system.processes}
        for replica in self._replicas():
            replica.process, replica.serving = running[replica.spec.name], True
        self._watching = asyncio.create_task(self._watch())

    @property
    def replicas(self) -> dict[str, list[str]]:
        """Names of each stage's processes, those that are being started again included."""
        return {stage: [replica.spec.name for replica in found] for stage, found in self._stages.items()}

    @property
    def complete(self) -> bool:
        """Whether every process runs and serves."""
        return not self.front_died.done() and all(replica.serving for replica in self._replicas())

    def process(self, name: str) -> Process:
        """A running process by name, to kill or to pause; raises NotFound where there is none."""
        for process in self._system.processes:
            if process.spec.name == name:
                return process
        known = ", ".join(process.spec.name for process in self._system.processes)
        raise NotFound(f"no process {name!r} runs; have {known}")

    def kill(self, name: str) -> None:
        """Kills a process; it is started again."""
        self.process(name).signal(signal.SIGKILL)

    def pause(self, name: str) -> None:
        """Stops a process where it is; it keeps its connections and answers nothing."""
        self.process(name).signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a paused process go on."""
        self.process(name).signal(signal.SIGCONT)

    async def scale(self, stage: str, count: int, timeout: float = 120) -> None:
        """Brings a stage to `count` replicas, and returns when they serve and the others are gone.

        Raises StartupError and StageUnavailable where a new one does not get healthy; those that do stay.
        """
        replicas = self._of(stage)
        if not 1 <= count <= MAX_REPLICAS:
            raise InvalidInput(f"{stage}={count}: the number of replicas must be from 1 to {MAX_REPLICAS}")
        async with self._changing:
            if count < len(replicas):
                await self._remove(stage, replicas[count:])
            else:
                await self._add(stage, count - len(replicas), timeout)

    async def restart(self, stage: str, timeout: float = 120) -> None:
        """Restarts a stage's replicas one after the other, the others serving meanwhile.

        A stage of one gets a second one for that time.
        """
        replicas = self._of(stage)
        async with self._changing:
            alone = len(replicas) == 1
            if alone:
                await self._add(stage, 1, timeout)
            old = replicas[:-1] if alone else list(replicas)
            for replica in old:
                await self._leave(stage, [replica])
                if not await self._begin(stage, replica, timeout):
                    self._keep_trying(stage, replica)
                    raise StartupError(f"{replica.spec.name} did not come back; it is tried again")
            if alone:
                await self._remove(stage, replicas[1:])

    async def _add(self, stage: str, count: int, timeout: float) -> None:
        replicas = self._stages[stage]
        started = [await self._start_another(stage) for _ in range(count)]

        async def enter(replica: Replica) -> None:
            assert replica.process
            try:
                await self._system.wait_healthy(replica.process, timeout)
                self._enter(stage, replica)
            except (NextvecError, OSError):
                replica.serving = False
                replicas.remove(replica)
                await self._system.end(replica.process)
                raise

        results = await asyncio.gather(*map(enter, started), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _start_another(self, stage: str) -> Replica:
        replicas = self._stages[stage]
        names = {replica.spec.name for replica in replicas}
        name = next(name for n in range(1, MAX_REPLICAS + 2) if (name := replica_name(stage, n)) not in names)
        taken = [port for known in self._replicas() for port in known.spec.ports]
        taken += [port for spec in self._front for port in spec.ports]
        spec = another(replicas[0].spec, name, free_block(1, self._host, avoid=taken))
        replica = Replica(spec, await self._system.start(spec))
        replicas.append(replica)
        return replica

    async def _remove(self, stage: str, leaving: list[Replica]) -> None:
        await self._leave(stage, leaving)
        for replica in leaving:
            self._stages[stage].remove(replica)

    async def _leave(self, stage: str, leaving: list[Replica]) -> None:
        """Takes replicas out of service and then stops them."""
        await _cancel([replica.reviving for replica in leaving if replica.reviving])
        for replica in leaving:
            replica.serving = False
        self._write(stage)
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.gather(*(self._system.end(one.process) for one in leaving if one.process))

    def _enter(self, stage: str, replica: Replica) -> None:
        replica.serving = True
        self._write(stage)

    async def _watch(self) -> None:
        while True:
            dead = await self._system.death()
            if dead.spec.last:
                self.front_died.set_result(dead)
                return
            for stage, replicas in self._stages.items():
                for replica in replicas:
                    # One that does not serve yet is waited for by whoever started it.
                    if replica.process is dead and replica.serving:
                        self._died(stage, replica, dead)

    def _died(self, stage: str, replica: Replica, dead: Process) -> None:
        replica.process, replica.serving = None, False
        steady = time.monotonic() - dead.started > STEADY_SECONDS
        replica.deaths = 1 if steady else replica.deaths + 1
        self._tell(f"{dead.last_words}; it is started again in {replica.backoff_seconds:.1f} s")
        self._keep_trying(stage, replica)
        try:
            self._write(stage)
        except OSError as error:
            # The gateway finds out by itself, and the list is written again when the replica is back.
            self._tell(f"the list of {stage} replicas cannot be written: {error}")

    def _keep_trying(self, stage: str, replica: Replica) -> None:
        if not self._stopping:
            replica.reviving = asyncio.create_task(self._revive(stage, replica))

    async def _revive(self, stage: str, replica: Replica) -> None:
        while not replica.serving:
            await asyncio.sleep(replica.backoff_seconds)
            if await self._begin(stage, replica, _REVIVE_SECONDS):
                self._tell(f"{replica.spec.name} is back")

    async def _begin(self, stage: str, replica: Replica, timeout: float) -> bool:
        """Starts a replica that is down; whether it serves. If not, it has died once more."""
        try:
            replica.process = await self._system.start(replica.spec)
            await self._system.wait_healthy(replica.process, timeout)
            self._enter(stage, replica)
        except (NextvecError, OSError) as error:
            # The machine may be short of memory, processes or disk for a while; that too passes.
            replica.serving = False
            if replica.process:
                await self._system.end(replica.process)
            replica.process = None
            replica.deaths += 1
            reason = error.message if isinstance(error, NextvecError) else f"{replica.spec.name}: {error}"
            self._tell(f"{reason}; the next try is in {replica.backoff_seconds:.1f} s")
            return False
        return True

    def _write(self, stage: str) -> None:
        serving = [replica for replica in self._stages[stage] if replica.serving]
        write_list(self._lists / stage, map(self._address, serving))

    def _address(self, replica: Replica) -> str:
        return f"{self._host}:{replica.spec.ports[0]}"

    def _replicas(self) -> Iterable[Replica]:
        return [replica for replicas in self._stages.values() for replica in replicas]

    def _of(self, stage: str) -> list[Replica]:
        if stage not in self._stages:
            raise NotFound(f"unknown stage {stage!r}; have {', '.join(self._stages)}")
        return self._stages[stage]


def _stage(spec: ProcessSpec) -> str:
    name, _, number = spec.name.rpartition("-")
    return name if number.isdigit() else spec.name


async def _cancel(tasks: "Iterable[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
