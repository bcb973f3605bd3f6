"""API keys at a running gateway: who gets in, how far, and what changes while it runs."""

import asyncio
import errno
import json
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway import keys as keys_module
from gateway.keys import ApiKey, KeyFile, Keyring, new_secret
from gateway.metering import Bucket
from nextvec.apikey import credentials, token
from nextvec.client import AsyncClient
from nextvec.errors import (
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    StartupError,
    Unauthenticated,
    from_rpc,
)
from nextvec.v1.gateway_pb2 import CompleteRequest, ListRoutesRequest
from nextvec.v1.vectors_pb2 import ErrorCode
from tests.gateway.conftest import FIVE, item


class Keys:
    """A file of keys and the keys themselves, by id."""

    def __init__(self, path):
        self.path = path
        self.tokens = {}
        self.add("first")

    def add(self, key_id, **limits):
        keys = KeyFile.read(self.path) if self.path.exists() else KeyFile()
        secret, digest = new_secret()
        keys.with_key(ApiKey(id=key_id, sha256=digest, **limits)).write(self.path)
        self.tokens[key_id] = token(key_id, secret)
        return self.tokens[key_id]


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.setattr(keys_module, "CHECK_SECONDS", 0)
    return Keys(tmp_path / "keys.json")


async def complete(system, key=None, *, on="amn", metadata=None, **fields):
    request = CompleteRequest(messages=FIVE, **fields)
    try:
        return await system.stub(on).Complete(request, metadata=metadata or credentials(key))
    except grpc.RpcError as error:
        raise from_rpc(error, "gateway") from None


async def test_without_a_file_everybody_gets_in(serving):
    async with serving() as system:
        assert (await complete(system)).chunks


async def test_a_key_gets_in_on_every_rpc(serving, keys):
    async with serving(api_keys_file=keys.path) as system:
        address = f"127.0.0.1:{system.ports['amn']}"
        async with AsyncClient(address, key=keys.tokens["first"]) as client:
            assert (await client.complete(FIVE)).chunks
            assert [event async for event in client.generate(FIVE)]
            assert len(await client.routes()) == 6


def wrong_keys(tokens):
    good = tokens["first"]
    return {
        "none": (),
        "empty": (("authorization", ""),),
        "no scheme": (("authorization", good),),
        "another scheme": (("authorization", f"Basic {good}"),),
        "a key cut short": (("authorization", f"Bearer {good[:-1]}"),),
        "another secret": (("authorization", f"Bearer nv_first_{'0' * 64}"),),
        "an unknown id": (("authorization", f"Bearer {good.replace('first', 'second')}"),),
        "an id of slashes": (("authorization", f"Bearer {good.replace('first', '../..')}"),),
        "in another header": (("x-api-key", good),),
    }


@pytest.mark.parametrize("case", wrong_keys({"first": "nv_first_0"}))
async def test_a_wrong_key_is_refused_on_every_rpc_with_a_remedy_and_never_told(
    serving, keys, log_lines, case
):
    metadata = wrong_keys(keys.tokens)[case]
    async with serving(api_keys_file=keys.path) as system:
        stub = system.stub()
        calls = {
            "Complete": lambda: stub.Complete(CompleteRequest(messages=FIVE), metadata=metadata),
            "ListRoutes": lambda: stub.ListRoutes(ListRoutesRequest(), metadata=metadata),
            "Generate": lambda: stub.Generate(iter([item("1")]), metadata=metadata).read(),
        }
        for call in calls.values():
            with pytest.raises(grpc.RpcError) as caught:
                await call()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "API key" in caught.value.details()
            assert keys.tokens["first"][-20:] not in caught.value.details()
        assert not system.encoder.requests
    lines = [line for line in log_lines() if line["event"] == "request"]
    assert {line["method"] for line in lines} == {f"GatewayService/{name}" for name in calls}
    assert {line["code"] for line in lines} == {"UNAUTHENTICATED"}


async def test_logs_and_metrics_name_the_key_and_never_its_secret(serving, keys, log_lines):
    async with serving(api_keys_file=keys.path) as system:
        await complete(system, keys.tokens["first"], max_chunks=2)
        stream = system.stub().Generate(iter([item("1")]), metadata=credentials(keys.tokens["first"]))
        assert [event async for event in stream]
        assert system.sample("key_requests_total", key="first") == 2
        assert system.sample("key_chunks_total", key="first") == 3
    lines = [line for line in log_lines() if line["event"] in ("request", "item")]
    # The toy stages log as well; they know no keys.
    served = [line for line in lines if line.get("method", "GatewayService").startswith("GatewayService")]
    assert [line["key"] for line in served] == ["first"] * 3
    secret = keys.tokens["first"].rpartition("_")[2]
    text = json.dumps(log_lines())
    assert secret not in text
    assert keys_module.digest(secret) not in text


async def test_health_is_open_and_reflection_is_not(serving, keys):
    async with serving(api_keys_file=keys.path) as system:
        health = health_pb2_grpc.HealthStub(system.channel())
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(system.channel())
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        refused = stub.ServerReflectionInfo(iter([request]))
        with pytest.raises(grpc.RpcError) as caught:
            await refused.read()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        shown = stub.ServerReflectionInfo(iter([request]), metadata=credentials(keys.tokens["first"]))
        assert (await shown.read()).list_services_response.service


async def test_a_method_that_does_not_exist_is_not_counted_by_its_name(serving, keys):
    async with serving(api_keys_file=keys.path) as system:
        call = system.channel().unary_unary("/nextvec.v1.GatewayService/Guess")
        with pytest.raises(grpc.RpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        labels = {"method": "GatewayService/Guess", "code": "UNAUTHENTICATED"}
        assert system.registry.get_sample_value("nextvec_requests_total", labels) is None


async def test_an_expired_key_says_so_to_who_knows_it_alone(serving, keys):
    over = keys.add("over", expires=datetime.now(UTC) - timedelta(seconds=1))
    later = keys.add("later", expires=datetime.now(UTC) + timedelta(hours=1))
    async with serving(api_keys_file=keys.path) as system:
        assert (await complete(system, later)).chunks
        with pytest.raises(Unauthenticated, match="'over' expired at"):
            await complete(system, over)
        with pytest.raises(Unauthenticated, match="not known here"):
            await complete(system, f"nv_over_{'0' * 64}")


async def test_a_key_for_some_routes_is_refused_on_others(serving, keys):
    some = keys.add("some", routes=("gru", "direct"))
    async with serving(api_keys_file=keys.path) as system:
        assert (await complete(system, some, on="direct")).route == "direct"
        with pytest.raises(PermissionDenied, match="not for route 'amn'; have gru, direct"):
            await complete(system, some)


async def test_requests_beyond_a_keys_rate_are_refused_until_it_has_more(serving, keys):
    slow = keys.add("slow", requests_per_second=2)
    async with serving(api_keys_file=keys.path) as system:
        await complete(system, slow)
        await complete(system, slow)
        with pytest.raises(RateLimited, match="'slow' may have 2 requests a second; try again in") as caught:
            await complete(system, slow)
        assert 0 < caught.value.retry_delay_ms <= 500
        assert (await complete(system, keys.tokens["first"])).chunks
        await asyncio.sleep(caught.value.retry_delay_ms / 1000)
        assert (await complete(system, slow)).chunks
        assert system.sample("key_refusals_total", key="slow", limit="requests") == 1


async def test_items_of_a_stream_and_wrong_requests_count_as_requests(serving, keys):
    # One request, and no other while the test runs.
    slow, wrong = (keys.add(key_id, requests_per_second=0.001) for key_id in ("slow", "wrong"))
    async with serving(api_keys_file=keys.path) as system:
        with pytest.raises(InvalidInput):
            await complete(system, wrong, rungs=[3, 1])
        with pytest.raises(RateLimited):
            await complete(system, wrong)
        items = [item(str(number)) for number in range(4)]
        stream = system.stub().Generate(iter(items), metadata=credentials(slow))
        kinds = [event.error.kind for event in [e async for e in stream] if event.HasField("error")]
        assert kinds == ["RateLimited"] * 3


async def test_chunks_beyond_a_keys_minute_are_refused(serving, keys):
    few = keys.add("few", chunks_per_minute=3)
    async with serving(api_keys_file=keys.path) as system:
        assert len((await complete(system, few, max_chunks=2)).chunks) == 2
        with pytest.raises(RateLimited, match="3 chunks a minute") as caught:
            await complete(system, few, max_chunks=2)
        assert 15_000 < caught.value.retry_delay_ms <= 20_000
        assert (await complete(system, few)).chunks
        with pytest.raises(InvalidInput, match="max_chunks is 4; must be at most 3"):
            await complete(system, few, max_chunks=4)


async def test_keys_come_and_go_while_the_gateway_runs(serving, keys, log_lines):
    async with serving(api_keys_file=keys.path) as system:
        second = keys.add("second")
        assert (await complete(system, second)).chunks
        KeyFile.read(keys.path).without("first").write(keys.path)
        with pytest.raises(Unauthenticated):
            await complete(system, keys.tokens["first"])
        keys.path.write_text('{"keys": [{"id": "second"')
        assert (await complete(system, second)).chunks
        keys.path.unlink()
        assert (await complete(system, second)).chunks
        assert (await complete(system, second)).chunks
    problems = [line["problem"] for line in log_lines() if line["event"] == "api keys not reloaded"]
    assert len(problems) == 2
    assert "is not JSON" in problems[0]
    assert "No such file" in problems[1]


@asynccontextmanager
async def open_stream(system, key):
    """A Generate stream that stays open; `ask(request_id)` sends an item and returns its last event."""
    items = asyncio.Queue()

    async def sending():
        while (one := await items.get()) is not None:
            yield one

    stream = system.stub().Generate(sending(), metadata=credentials(key))

    async def ask(request_id):
        await items.put(item(request_id))
        while True:
            event = await asyncio.wait_for(stream.read(), 10)
            if event.HasField("complete") or event.HasField("error"):
                return event

    yield ask
    await items.put(None)
    assert await asyncio.wait_for(stream.read(), 10) is grpc.aio.EOF


HOUR = timedelta(hours=1)

LATER_FAULTS = {
    "revoked": (lambda key: [], "ERROR_CODE_UNAUTHENTICATED", "'first' was revoked"),
    "made anew": (
        lambda key: [key.model_copy(update={"sha256": "0" * 64})],
        "ERROR_CODE_UNAUTHENTICATED",
        "'first' was revoked",
    ),
    "expired": (
        lambda key: [key.model_copy(update={"expires": datetime.now(UTC) - HOUR})],
        "ERROR_CODE_UNAUTHENTICATED",
        "'first' expired at",
    ),
    "for other routes": (
        lambda key: [key.model_copy(update={"routes": ("gru",)})],
        "ERROR_CODE_PERMISSION_DENIED",
        "not for route 'amn'; have gru",
    ),
}


@pytest.mark.parametrize("fault", LATER_FAULTS)
async def test_a_key_that_no_longer_holds_is_refused_on_a_stream_that_was_let_in(serving, keys, fault):
    change, code, message = LATER_FAULTS[fault]
    async with serving(api_keys_file=keys.path) as system, open_stream(system, keys.tokens["first"]) as ask:
        assert (await ask("before")).HasField("complete")
        (key,) = KeyFile.read(keys.path).keys
        KeyFile(keys=tuple(change(key))).write(keys.path)
        asked = len(system.encoder.requests)
        for request_id in ("after", "later"):
            refused = await ask(request_id)
            assert refused.error.code == ErrorCode.Value(code)
            assert message in refused.error.message
        assert len(system.encoder.requests) == asked
        assert system.sample("key_requests_total", key="first") == 1


async def test_a_stream_goes_on_while_other_keys_change_and_new_limits_hold_for_it(serving, keys):
    async with serving(api_keys_file=keys.path) as system, open_stream(system, keys.tokens["first"]) as ask:
        assert (await ask("before")).HasField("complete")
        keys.add("second")
        assert (await ask("after")).HasField("complete")
        first, second = KeyFile.read(keys.path).keys
        limited = first.model_copy(update={"requests_per_second": 0.001})
        KeyFile(keys=(limited, second)).write(keys.path)
        assert (await ask("last")).HasField("complete")
        assert (await ask("too many")).error.kind == "RateLimited"


def test_the_file_is_looked_at_no_more_often_than_said(keys, monkeypatch):
    monkeypatch.setattr(keys_module, "CHECK_SECONDS", 3600)
    keyring = Keyring(keys.path)
    shown = credentials(keys.tokens["first"])[0][1]
    KeyFile().write(keys.path)
    assert keyring.authenticate(shown, "amn").id == "first"


BAD_FILES = {
    "keys.0.sha256": [{"id": "a"}],
    "keys.0.id": [{"id": "A_b", "sha256": "0" * 64}],
    "keys.0.requests_per_second": [{"id": "a", "sha256": "0" * 64, "requests_per_second": 0}],
    "keys.0.routes.0": [{"id": "a", "sha256": "0" * 64, "routes": ["os"]}],
    "keys.0.expires": [{"id": "a", "sha256": "0" * 64, "expires": "2030-01-01T00:00:00"}],
    "keys.0.key": [{"id": "a", "sha256": "0" * 64, "key": "nv_a_secret"}],
    "more than once": [{"id": "a", "sha256": "0" * 64}, {"id": "a", "sha256": "1" * 64}],
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_is_refused_at_the_start_by_entry_and_without_its_values(tmp_path, fault):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": BAD_FILES[fault]}))
    with pytest.raises(StartupError) as caught:
        Keyring(path)
    assert str(path) in caught.value.message
    assert fault in caught.value.message
    assert "secret" not in caught.value.message


def test_a_missing_file_does_not_leave_the_gateway_open(tmp_path):
    with pytest.raises(StartupError, match="nextvec keys create"):
        Keyring(tmp_path / "none.json")


def test_the_file_holds_digests_and_only_its_owner_may_read_it(keys):
    assert keys.tokens["first"].rpartition("_")[2] not in keys.path.read_text()
    assert keys.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in keys.path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_change_leaves_who_may_read_the_file_as_it_was(keys, mode):
    keys.path.chmod(mode)
    keys.add("second")
    assert keys.path.stat().st_mode & 0o7777 == mode
    KeyFile.read(keys.path).without("second").write(keys.path)
    assert keys.path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_change_leaves_the_file_its_owner_and_group(keys):
    os.chown(keys.path, 1234, 2345)
    keys.add("second")
    assert (keys.path.stat().st_uid, keys.path.stat().st_gid) == (1234, 2345)


def test_who_may_not_give_the_file_away_changes_it_all_the_same(keys, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    keys.path.chmod(0o640)
    keys.add("second")
    assert keys.path.stat().st_mode & 0o7777 == 0o640
    assert len(KeyFile.read(keys.path).keys) == 2


def test_a_file_that_could_not_be_read_for_a_moment_is_read_later(keys, monkeypatch, log_lines):
    ring = Keyring(keys.path)
    shown = ring.authenticate(dict(credentials(keys.tokens["first"]))["authorization"], "amn")
    KeyFile.read(keys.path).without("first").write(keys.path)
    with monkeypatch.context() as patched:

        def no_handles(path):
            raise OSError(errno.EMFILE, "Too many open files")

        patched.setattr(Path, "read_bytes", no_handles)
        for _ in range(2):
            assert ring.confirm(shown, "amn") == shown
    with pytest.raises(Unauthenticated, match="revoked"):
        ring.confirm(shown, "amn")
    (problem,) = [line["problem"] for line in log_lines() if line["event"] == "api keys not reloaded"]
    assert "Too many open files" in problem


async def test_a_file_that_is_nested_too_deeply_leaves_the_keys_as_they_were(serving, keys, log_lines):
    async with serving(api_keys_file=keys.path) as system:
        keys.path.write_text("[" * 100_000)
        for _ in range(2):
            assert (await complete(system, keys.tokens["first"])).chunks
    (problem,) = [line["problem"] for line in log_lines() if line["event"] == "api keys not reloaded"]
    assert "nested too deeply" in problem
    with pytest.raises(StartupError, match="nested too deeply"):
        Keyring(keys.path)


def test_an_unknown_key_cannot_be_revoked(keys):
    with pytest.raises(NotFound, match="unknown key 'x'; have first"):
        KeyFile.read(keys.path).without("x")


def test_a_bucket_fills_at_its_rate_up_to_its_capacity():
    bucket = Bucket(rate=2, capacity=4, level=4, filled_at=0)
    assert bucket.take(4, now=0) == 0
    assert bucket.take(1, now=0) == pytest.approx(0.5)
    assert bucket.take(1, now=0.5) == 0
    assert bucket.take(5, now=100) == pytest.approx(0.5)
    assert bucket.take(4, now=100) == 0


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
async def test_a_gateway_warns_of_keys_in_plain_text_beyond_this_machine(
    serving, keys, log_lines, host, warned
):
    async with serving(api_keys_file=keys.path, host=host):
        pass
    found = [line for line in log_lines() if line["event"] == "api keys in plain text"]
    assert bool(found) == warned
    assert all("NEXTVEC_TLS_CERTIFICATE" in line["remedy"] for line in found)


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("gateway.example:9001", True),
        ("dns:///10.0.0.1:9001", True),
        ("localhost:9001", False),
        ("[::1]:9001", False),
    ],
)
async def test_a_client_warns_of_a_key_in_plain_text_beyond_this_machine(keys, log_lines, address, warned):
    async with AsyncClient(address, key=keys.tokens["first"]):
        pass
    found = [line for line in log_lines() if line["event"] == "api key in plain text"]
    assert bool(found) == warned
    assert keys.tokens["first"] not in json.dumps(found)
