"""Bad messages on every RPC of a real system: none is a bug, nothing dies or grows, and good ones go on."""

import asyncio
import os
import random

import psutil
import pytest

from nextvec.routes import ROUTES
from nextvec.v1.lvm_pb2 import PredictRequest
from nextvec.vectors import DIMENSION
from tests.e2e.running import Running
from tests.security.fuzz import bugs, fuzz, resident, space_of, targets
from tests.security.mutation import messages

MESSAGES = int(os.environ.get("NEXTVEC_TEST_FUZZ_MESSAGES", "2000"))
"""The suite's short form; `python -m tests.security.fuzz 100000` is the long one."""

GROWTH_MB = 64
"""Room for caches and allocators to fill; a leak of a few kB for each message is more."""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("fuzz"), NEXTVEC_REDIS_URL="") as running:
        yield running


def test_the_same_seed_gives_the_same_messages_and_they_differ_from_each_other():
    valid = PredictRequest(route="amn")
    first = list(messages(7, valid, "s", 200))
    assert first == list(messages(7, valid, "s", 200))
    assert first != list(messages(8, valid, "s", 200))
    assert len(set(first)) > 100
    assert any(len(data) > 4 * DIMENSION for data in first)


def test_every_rpc_of_the_protocol_is_a_target(system):
    paths = {target.path for target in targets(system, "s")}
    wanted = {
        *(f"/nextvec.v1.GatewayService/{name}" for name in ("Complete", "Generate", "ListRoutes")),
        *("/nextvec.v1.EncoderService/Encode", "/nextvec.v1.DecoderService/Decode"),
        *("/nextvec.v1.LvmService/Predict", "/nextvec.v1.LvmService/ListModels"),
        *("/nextvec.v1.SnapService/Project", "/nextvec.v1.SnapService/Search"),
    }
    assert wanted <= paths
    addresses = {target.address for target in targets(system, "s") if "Gateway" in target.path}
    assert len(addresses) == len(ROUTES)


def test_bad_messages_are_refused_without_a_bug_a_death_or_a_leak(system):
    space = space_of(system)
    pids = dict(system.where["pids"])
    asyncio.run(fuzz(system, space, MESSAGES // 4, seed=random.randrange(2**20)))
    before = resident(system)
    report = asyncio.run(fuzz(system, space, MESSAGES, seed=1))
    grown = {name: mb - before[name] for name, mb in resident(system).items()}
    assert report.sent >= MESSAGES
    assert not report.bad, "\n".join(report.bad[:10])
    assert not bugs(system)
    assert all(psutil.pid_exists(pid) for pid in pids.values())
    assert max(grown.values()) < GROWTH_MB, grown
    codes = {code for counts in report.statuses.values() for code in counts}
    assert {"OK", "INVALID_ARGUMENT"} <= codes
    assert space_of(system) == space
