"""Processes are started together, watched, and stopped in order."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from nextvec.channel import open_channel
from nextvec.cli.system import ProcessSpec, System
from nextvec.errors import StageUnavailable, StartupError
from nextvec.ports import free_block
from nextvec.stream import ask
from nextvec.v1.encoder_pb2 import EncodeRequest
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub

HOST = "127.0.0.1"


def spec(name, *, last=False, **toy):
    """A toy process; keyword `die` becomes TOY_DIE."""
    port = free_block(1)
    told = {f"TOY_{key.upper()}": str(value) for key, value in {"port": port, **toy}.items()}
    return ProcessSpec(name, "tests.cli.toy_process", (port,), {**os.environ, **told}, last=last)


async def test_processes_become_healthy_and_are_stopped():
    ready = []
    lines = []
    specs = [spec("one"), spec("front", last=True)]
    async with System(specs, HOST, tell=lambda name, line: lines.append((name, line))) as system:
        await system.healthy(30, lambda spec, seconds: ready.append(spec.name))
        handles = {process.spec.name: process.handle for process in system.processes}
        assert sorted(ready) == ["front", "one"]
    assert [handle.returncode for handle in handles.values()] == [0, 0]
    assert {("one", "hello"), ("front", "hello")} <= set(lines)
    # The one in front says goodbye before the other is told to stop.
    goodbyes = [name for name, line in lines if line == "goodbye"]
    assert goodbyes == ["front", "one"]


async def test_a_process_that_dies_at_the_start_says_why():
    async with System([spec("one"), spec("two", die="start")], HOST) as system:
        with pytest.raises(StartupError, match="two ended with code 1: the weights are missing"):
            await system.healthy(30, lambda spec, seconds: None)


async def test_a_full_disk_loses_lines_and_stops_no_process(tmp_path):
    (tmp_path / "one.log").symlink_to("/dev/full")
    lines = []
    system = System([spec("one")], HOST, log_folder=tmp_path, tell=lambda name, line: lines.append(line))
    async with system:
        await system.healthy(30, lambda spec, seconds: None)
        handle = system.processes[0].handle
    assert handle.returncode == 0
    assert list(system.processes) == []
    (line,) = lines
    assert line.startswith("lines are lost: [Errno 28]")


async def test_a_process_that_never_gets_healthy_is_named():
    async with System([spec("sick", die="sick")], HOST) as system:
        with pytest.raises(StageUnavailable, match="not healthy after 3 s: sick"):
            await system.healthy(3, lambda spec, seconds: None)


async def test_a_death_is_reported_once_and_the_others_live():
    async with System([spec("one"), spec("two")], HOST) as system:
        await system.healthy(30, lambda spec, seconds: None)
        victim = system.processes[1]
        os.kill(victim.handle.pid, signal.SIGKILL)
        dead = await asyncio.wait_for(system.death(), 5)
        assert dead is victim
        assert dead.last_words.startswith("two ended by SIGKILL")
        assert [process.spec.name for process in system.processes] == ["one"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(system.death(), 0.2)


async def test_requests_in_flight_are_finished_when_it_stops():
    slow = spec("slow", seconds=1.5)
    async with open_channel(f"{HOST}:{slow.ports[0]}") as channel:
        async with System([slow], HOST) as system:
            await system.healthy(30, lambda spec, seconds: None)
            method = EncoderServiceStub(channel).Encode
            call = asyncio.create_task(ask(method, EncodeRequest(request_id="1"), stage="toy"))
            await asyncio.sleep(0.5)
        answer = await asyncio.wait_for(call, 1)
    assert answer.result.model_id == "toy"


async def test_lines_go_to_a_file_for_each_process(tmp_path):
    async with System([spec("one")], HOST, log_folder=tmp_path / "logs") as system:
        await system.healthy(30, lambda spec, seconds: None)
    log = (tmp_path / "logs" / "one.log").read_text()
    assert "hello\n" in log
    assert "goodbye\n" in log


async def test_a_process_that_does_not_end_is_killed():
    stubborn = spec("one", seconds=60)
    async with open_channel(f"{HOST}:{stubborn.ports[0]}") as channel:
        async with System([stubborn], HOST, grace_seconds=0.5) as system:
            await system.healthy(30, lambda spec, seconds: None)
            method = EncoderServiceStub(channel).Encode
            call = asyncio.create_task(ask(method, EncodeRequest(request_id="1"), stage="toy"))
            await asyncio.sleep(0.2)
            handle = system.processes[0].handle
            started = time.monotonic()
        assert time.monotonic() - started < 4
        assert handle.returncode == -signal.SIGKILL
        with pytest.raises(StageUnavailable):
            await call


PARENT = """
import asyncio, sys
from tests.cli.test_system import HOST, System, spec

async def main():
    async with System([spec("one")], HOST) as system:
        await system.healthy(30, lambda spec, seconds: None)
        print(system.processes[0].handle.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_processes_end_when_their_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


async def test_nothing_is_started_once_it_stops():
    async with System([spec("one")], HOST) as system:
        starting = asyncio.create_task(system.start(spec("late")))
        await asyncio.sleep(0)
    with pytest.raises(StageUnavailable, match="late is not started: the system is stopping"):
        await starting
    with pytest.raises(StageUnavailable, match="two is not started"):
        await system.start(spec("two"))
    assert not system.processes
    assert not psutil.Process().children()


async def test_a_process_whose_end_is_interrupted_is_ended_with_the_others():
    async with System([spec("one", seconds=30)], HOST) as system:
        await system.healthy(30, lambda spec, seconds: None)
        process = system.processes[0]
        os.kill(process.handle.pid, signal.SIGSTOP)
        ending = asyncio.create_task(system.end(process))
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert system.processes == [process]
    assert process.handle.returncode is not None
