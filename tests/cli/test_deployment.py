"""Replicas are killed, scaled and restarted under load, and no request fails."""

import asyncio
import os
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from nextvec.cli.control import controlled, folder, request
from nextvec.cli.deployment import MAX_BACKOFF_SECONDS, Deployment, Replica
from nextvec.cli.scale import counts
from nextvec.cli.system import ProcessSpec, System
from nextvec.errors import FailedPrecondition, InvalidInput, NotFound, StageUnavailable, StartupError
from nextvec.ports import free_block
from tests.gateway.conftest import logs, serving  # noqa: F401
from tests.gateway.test_replicas import PATIENT

HOST = "127.0.0.1"


class Load:
    """Requests at the gateway one after the other in several tasks; who decoded them, and what failed."""

    def __init__(self, system):
        self.system = system
        self.answered_by = Counter()
        self.failures = []
        self.tasks = []

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self._ask_on()) for _ in range(6)]
        return self

    async def __aexit__(self, *exception):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        # The client calls again where the gateway is unavailable; what the gateway says counts.
        assert self.system.sample("completions_total", route="direct", code="UNAVAILABLE") is None
        assert not self.failures
        assert self.answered_by

    async def _ask_on(self):
        while True:
            try:
                response = await self.system.complete(on="direct", bypass_cache=True)
                self.failures += response.degraded
                self.answered_by[response.model_ids["decoder"]] += 1
            except Exception as error:
                self.failures.append(error)
                raise

    async def reaches(self, names, seconds=20):
        """Waits until each of the processes has answered anew."""
        self.answered_by.clear()
        async with asyncio.timeout(seconds):
            while not set(names) <= self.answered_by.keys():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
def decoders(serving, tmp_path):  # noqa: F811
    """`async with decoders(count) as (deployment, system, news)`: decoders behind a gateway of this test."""

    @asynccontextmanager
    async def start(count):
        told = {**os.environ, "TOY_BROKEN": str(tmp_path / "broken")}
        specs = []
        for name in ("decoder", "decoder-2", "decoder-3")[:count]:
            port = free_block(1)
            environment = {**told, "NEXTVEC_PORT": str(port)}
            specs.append(ProcessSpec(name, "tests.cli.toy_decoder", (port,), environment))
        news = []
        lists = tmp_path / "lists"
        async with Deployment(System(specs, HOST), lists, HOST, tell=news.append) as deployment:
            await deployment.healthy(120, lambda spec, seconds: None)
            async with serving(decoder_address=f"file:{lists / 'decoder'}", **PATIENT) as system:
                yield deployment, system, news

    return start


@pytest.fixture
def short_runtime_folder(monkeypatch):
    """A folder of the test's own for sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def model_id(deployment, name):
    return f"toy-decoder-{deployment.process(name).spec.ports[0]}"


async def test_a_decoder_killed_under_load_costs_nothing_and_comes_back(decoders):
    async with decoders(3) as (deployment, system, news), Load(system) as load:
        names = [model_id(deployment, name) for name in deployment.replicas["decoder"]]
        await load.reaches(names)
        deployment.kill("decoder-2")
        await load.reaches([names[0], names[2]])
        async with asyncio.timeout(120):
            while len(news) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await load.reaches(names)
        assert deployment.complete
        assert news == ["decoder-2 ended by SIGKILL; it is started again in 0.5 s", "decoder-2 is back"]


async def test_scaling_and_restarting_under_load_cost_nothing(decoders):
    async with decoders(1) as (deployment, system, _), Load(system) as load:
        await load.reaches([first := model_id(deployment, "decoder")])
        await deployment.scale("decoder", 3)
        assert deployment.replicas == {"decoder": ["decoder", "decoder-2", "decoder-3"]}
        await load.reaches([model_id(deployment, name) for name in deployment.replicas["decoder"]])
        await deployment.scale("decoder", 1)
        assert deployment.replicas == {"decoder": ["decoder"]}
        await load.reaches([first])
        assert set(load.answered_by) == {first}
        pid = deployment.process("decoder").handle.pid
        await deployment.restart("decoder")
        assert deployment.replicas == {"decoder": ["decoder"]}
        assert deployment.process("decoder").handle.pid != pid
        await load.reaches([first])


async def test_a_rolling_restart_under_load_costs_nothing(decoders):
    async with decoders(2) as (deployment, system, _), Load(system) as load:
        before = [deployment.process(name).handle.pid for name in deployment.replicas["decoder"]]
        await deployment.restart("decoder")
        after = [deployment.process(name).handle.pid for name in deployment.replicas["decoder"]]
        assert not set(before) & set(after)
        await load.reaches([model_id(deployment, name) for name in deployment.replicas["decoder"]])


async def test_a_stage_that_is_gone_is_said_so_and_used_again_when_it_is_back(decoders):
    async with decoders(2) as (deployment, system, _):
        for name in deployment.replicas["decoder"]:
            deployment.kill(name)
        async with asyncio.timeout(60):
            while not (response := await system.complete(on="direct", bypass_cache=True)).degraded:
                pass
        assert "the decoder stage at " in response.degraded[0]
        async with asyncio.timeout(120):
            while not deployment.complete:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while (await system.complete(on="direct", bypass_cache=True)).degraded:
                pass


async def test_a_replica_that_cannot_start_is_said_and_tried_again_later_and_later(decoders, tmp_path):
    async with decoders(1) as (deployment, system, news):
        (tmp_path / "broken").touch()
        with pytest.raises(StartupError, match="decoder-2 ended with code 1: the weights are missing"):
            await deployment.scale("decoder", 2)
        assert deployment.replicas == {"decoder": ["decoder"]}
        assert not (await system.complete(on="direct")).degraded
        deployment.kill("decoder")
        async with asyncio.timeout(120):
            while len(news) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert news[1] == "decoder ended with code 1: the weights are missing; the next try is in 1.0 s"
        (tmp_path / "broken").unlink()
        async with asyncio.timeout(120):
            while not deployment.complete:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_replicas_come_back_when_their_list_can_be_written_again(decoders, tmp_path):
    async with decoders(1) as (deployment, _, news):
        (tmp_path / "lists").rename(tmp_path / "away")
        deployment.kill("decoder")
        async with asyncio.timeout(120):
            while len(news) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert news[0].startswith("decoder ended by SIGKILL")
        assert news[1].startswith("the list of decoder replicas cannot be written: ")
        assert "No such file" in news[2]
        assert news[2].endswith("the next try is in 1.0 s")
        (tmp_path / "away").rename(tmp_path / "lists")
        async with asyncio.timeout(120):
            while not deployment.complete:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(psutil.Process().children()) == 1
        deployment.kill("decoder")
        async with asyncio.timeout(120):
            while sum("ended by SIGKILL" in line for line in news) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("wish", [{"scale": {"decoder": 3}}, {"restart": ["decoder"]}])
async def test_stopping_amid_a_change_leaves_no_process(decoders, short_runtime_folder, wish):
    async with decoders(2) as (deployment, _, news):
        with folder(25_001) as own:
            async with controlled(deployment, own):
                before = deployment.process("decoder").handle
                changing = asyncio.create_task(request(wish, None))
                async with asyncio.timeout(60):
                    while len(deployment.replicas["decoder"]) < 3 and before.returncode is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            with pytest.raises(FailedPrecondition, match="the system stopped before it was done"):
                await changing
    assert not psutil.Process().children()
    assert not [task for task in asyncio.all_tasks() if "Deployment" in task.get_coro().__qualname__]
    assert not news


async def test_a_replica_that_dies_during_the_stop_is_not_started_again(decoders):
    async with decoders(2) as (deployment, _, news):
        scaling = asyncio.create_task(deployment.scale("decoder", 3))
        await asyncio.sleep(0)
        deployment.kill("decoder-2")
        await asyncio.sleep(0)
    with pytest.raises((StageUnavailable, StartupError)):
        await scaling
    assert not psutil.Process().children()
    assert not [line for line in news if "is back" in line]
    with pytest.raises(StageUnavailable, match="the system is stopping"):
        await deployment.scale("decoder", 4)


async def test_a_paused_replica_is_worked_around(decoders):
    async with decoders(2) as (deployment, system, _):
        deployment.pause("decoder-2")
        waiting = [asyncio.create_task(system.complete(on="direct", bypass_cache=True)) for _ in range(8)]
        await asyncio.sleep(0)
        done, _ = await asyncio.wait(waiting, timeout=15)
        assert len(done) >= 4
        for _ in range(4):
            assert not (await asyncio.wait_for(system.complete(on="direct", bypass_cache=True), 15)).degraded
        deployment.resume("decoder-2")
        assert not any(response.degraded for response in await asyncio.gather(*waiting))


def test_the_pause_before_another_start_grows_to_a_limit():
    replica = Replica(ProcessSpec("decoder", "", (), {}))
    pauses = []
    for deaths in range(1, 12):
        replica.deaths = deaths
        pauses.append(replica.backoff_seconds)
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == MAX_BACKOFF_SECONDS


async def test_a_command_reaches_the_system_by_its_socket(decoders, short_runtime_folder):
    async with decoders(1) as (deployment, _, _):
        with pytest.raises(FailedPrecondition, match="no system runs for this user; start one with"):
            await request({}, None)
        with folder(23_001) as own:
            async with controlled(deployment, own):
                assert await request({}, None) == {"decoder": ["decoder"]}
                scaled = await request({"scale": {"decoder": 2}}, 23_001)
                assert scaled == {"decoder": ["decoder", "decoder-2"]}
                with pytest.raises(NotFound, match="unknown stage 'os'; have decoder"):
                    await request({"scale": {"os": 2}}, None)
                with pytest.raises(InvalidInput, match="decoder=0: the number of replicas must be from 1"):
                    await request({"scale": {"decoder": 0}}, None)
                with pytest.raises(InvalidInput, match="not what `nextvec scale` sends"):
                    await request([], None)
                with pytest.raises(FailedPrecondition, match="no system with port base 9 runs"):
                    await request({}, 9)
                with folder(24_001) as other:
                    async with controlled(deployment, other):
                        with pytest.raises(FailedPrecondition, match="--port-base, one of 23001, 24001"):
                            await request({}, None)
        assert not list(short_runtime_folder.rglob("control"))


@pytest.mark.parametrize("plant", ["link", "open", "file", "other user"])
async def test_a_place_that_others_may_have_a_hand_in_is_refused(short_runtime_folder, monkeypatch, plant):
    place = short_runtime_folder / "nextvec"
    if plant == "link":
        (short_runtime_folder / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(short_runtime_folder / "elsewhere")
    elif plant == "file":
        place.touch(mode=0o700)
    else:
        place.mkdir(mode=0o755 if plant == "open" else 0o700)
    if plant == "other user":
        monkeypatch.setattr(os, "getuid", lambda: place.stat().st_uid + 1)
    with pytest.raises(FailedPrecondition, match="must be a folder of this user with mode 0700"), folder(1):
        pass
    with pytest.raises(FailedPrecondition, match="mode 0700, and no link; remove it, or set"):
        await request({}, None)


def test_a_private_place_that_is_there_is_used(short_runtime_folder):
    for _ in range(2):
        with folder(23_001) as own:
            assert own.parent.lstat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("entry", ["decoder", "decoder=", "decoder=0", "decoder=65", "decoder=x", "os=2"])
def test_a_number_of_processes_that_is_none_is_refused(entry):
    with pytest.raises(InvalidInput, match=r"must be STAGE=COUNT|unknown stage 'os'"):
        counts([entry])


def test_numbers_of_processes_are_read():
    assert counts(["decoder=3", "snap=2"]) == {"decoder": 3, "snap": 2}
