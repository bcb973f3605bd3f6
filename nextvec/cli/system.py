"""Processes on this machine: started together or one by one, watched, and stopped in order."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextvec.channel import open_channel
from nextvec.errors import StageUnavailable, StartupError
from nextvec.settings import TlsSettings

_TAIL = 20
"""Lines of a process's output kept, to say why it died."""

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ProcessSpec:
    """One process to run: `python -m module` with `environment`, healthy when all `ports` say so."""

    name: str
    module: str
    ports: tuple[int, ...]
    environment: Mapping[str, str]
    last: bool = False  # stands in front of the others: it is stopped before them


@dataclass(eq=False)
class Process:
    """A process that runs, and the last lines it said."""

    spec: ProcessSpec
    handle: asyncio.subprocess.Process
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))
    reader: "asyncio.Task[None] | None" = None
    waiter: "asyncio.Task[None] | None" = None
    started: float = field(default_factory=time.monotonic)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, such as SIGKILL, or SIGSTOP and SIGCONT; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.handle.send_signal(number)

    @property
    def last_words(self) -> str:
        """How it ended; after a failure with its last line, which says why."""
        code = self.handle.returncode or 0
        if code < 0:
            return f"{self.spec.name} ended by {signal.Signals(-code).name}"
        reason = f": {self.tail[-1]}" if code and self.tail else ""
        return f"{self.spec.name} ended with code {code}{reason}"


class System:
    """Runs processes. Use as a context manager: leaving it stops them all.

    Lines they print go to `log_folder/<name>.log`, or to `tell` with the name in front.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        host: str,
        *,
        log_folder: Path | None = None,
        tell: Callable[[str, str], None] = lambda name, line: None,
        tls: TlsSettings | None = None,
        grace_seconds: float = 15,
    ) -> None:
        """`tls` is how to ask for health; `grace_seconds` the time a process has to end by itself."""
        self.specs = specs
        self._host = host
        self._log_folder = log_folder
        self._tell = tell
        self._tls = tls
        self._grace = grace_seconds
        self._deaths: asyncio.Queue[Process] = asyncio.Queue()
        self._stopping = False
        self.processes: list[Process] = []

    async def __aenter__(self) -> Self:
        if self._log_folder:
            self._log_folder.mkdir(parents=True, exist_ok=True)
        try:
            for spec in self.specs:
                if not spec.last:
                    await self.start(spec)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def healthy(self, timeout: float, ready: Callable[[ProcessSpec, float], None]) -> None:
        """Waits until every process is healthy, calling `ready` with each and the seconds it took.

        Those in front are started once the others are healthy: a client that finds nobody tries again only
        after a while, in which requests would go without that stage. Raises StartupError, with the process's
        last line, when one ends before, and StageUnavailable, naming those that are not, when `timeout`
        seconds are over.
        """
        started = time.monotonic()
        waiting = {spec.name for spec in self.specs}

        async def wait(process: Process) -> None:
            await self._wait_healthy(process)
            waiting.discard(process.spec.name)
            ready(process.spec, time.monotonic() - started)

        try:
            async with asyncio.timeout(timeout):
                async with asyncio.TaskGroup() as group:
                    for process in self.processes:
                        group.create_task(wait(process))
                in_front = [await self.start(spec) for spec in self.specs if spec.last]
                async with asyncio.TaskGroup() as group:
                    for process in in_front:
                        group.create_task(wait(process))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        except TimeoutError:
            raise _not_healthy(waiting, timeout) from None

    async def start(self, spec: ProcessSpec) -> Process:
        """Starts one more process; raises StageUnavailable once the system stops."""
        process = None if self._stopping else await self._spawn(spec)
        if process is None or self._stopping:
            if process:
                await self._end(process)
            raise StageUnavailable(f"{spec.name} is not started: the system is stopping")
        self.processes.append(process)
        process.waiter = asyncio.create_task(self._notice_end(process))
        return process

    async def wait_healthy(self, process: Process, timeout: float) -> None:
        """Waits until one process is healthy; raises as `healthy` does."""
        try:
            async with asyncio.timeout(timeout):
                await self._wait_healthy(process)
        except TimeoutError:
            raise _not_healthy([process.spec.name], timeout) from None

    async def end(self, process: Process) -> None:
        """Stops one process, which finishes what is in flight; killed if it takes too long."""
        if process in self.processes:
            self.processes.remove(process)
            try:
                await self._end(process)
            except asyncio.CancelledError:
                self.processes.append(process)  # it was told to end; `stop` sees to it that it does
                raise

    async def death(self) -> Process:
        """Waits until a process ends that nobody told to, and returns it; each is returned once."""
        while True:
            process = await self._deaths.get()
            if process in self.processes:
                self.processes.remove(process)
                await self._finish_reading(process)
                return process

    async def stop(self) -> None:
        """Stops the processes in front, which finish what is in flight, then those behind them.

        None is started from then on.
        """
        self._stopping = True
        for in_front in (True, False):
            await asyncio.gather(*(self._end(p) for p in self.processes if p.spec.last == in_front))
        self.processes.clear()

    def kill(self) -> None:
        """Ends every process now, whatever it is doing."""
        for process in self.processes:
            process.signal(signal.SIGKILL)

    async def _notice_end(self, process: Process) -> None:
        await process.handle.wait()
        self._deaths.put_nowait(process)

    async def _spawn(self, spec: ProcessSpec) -> Process:
        handle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nextvec.child", spec.module),
            env=dict(spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**20,
            # Ctrl-C in a terminal reaches the whole group; in one of their own, processes hear only from us.
            process_group=0,
        )
        process = Process(spec, handle)
        process.reader = asyncio.create_task(self._read(process))
        return process

    async def _read(self, process: Process) -> None:
        with contextlib.ExitStack() as stack:
            log: FileIO | None = None
            lost: int | None = None
            if self._log_folder:
                path = self._log_folder / f"{process.spec.name}.log"
                log = stack.enter_context(FileIO(path, "a"))
            assert process.handle.stdout is not None
            while raw := await _line(process.handle.stdout):
                line = raw.decode(errors="replace").rstrip()
                if line:
                    process.tail.append(line)
                if not log:
                    self._tell(process.spec.name, line)
                    continue
                try:
                    log.write(f"{line}\n".encode())
                except OSError as error:
                    # Reading goes on: a process whose output nobody reads comes to a stop.
                    if error.errno != lost:
                        self._tell(process.spec.name, f"lines are lost: {error}")
                    lost = error.errno
                else:
                    lost = None

    async def _wait_healthy(self, process: Process) -> None:
        for port in process.spec.ports:
            await self._port_healthy(process, port)

    async def _port_healthy(self, process: Process, port: int) -> None:
        async with open_channel(f"{self._host}:{port}", self._tls) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            while True:
                if process.handle.returncode is not None:
                    await self._finish_reading(process)
                    raise StartupError(process.last_words)
                with contextlib.suppress(grpc.RpcError):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(_POLL_SECONDS)

    async def _end(self, process: Process) -> None:
        process.signal(signal.SIGTERM)
        # A paused process hears it only when it goes on.
        process.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(self._grace):
                await process.handle.wait()
        except TimeoutError:
            process.signal(signal.SIGKILL)
            await process.handle.wait()
        await self._finish_reading(process)

    async def _finish_reading(self, process: Process) -> None:
        if process.reader:
            # A grandchild may hold the pipe open; what it says later is nobody's last word.
            await asyncio.wait([process.reader], timeout=1)
            process.reader.cancel()


def _not_healthy(names: Iterable[str], timeout: float) -> StageUnavailable:
    return StageUnavailable(f"not healthy after {timeout:.0f} s: {', '.join(sorted(names))}; see their logs")


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or the start of one longer than the stream's limit."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)
