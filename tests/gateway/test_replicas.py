"""A gateway over several decoders on real sockets, some of which fail, hang, leave or come."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import trustme
from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics
from gateway.replicas import Replicas
from gateway.settings import GatewaySettings
from gateway.stage_client import Call
from gateway.stages import Stages
from nextvec.addresses import write_list
from nextvec.channel import open_channel
from nextvec.deadline import Deadline
from nextvec.errors import InvalidInput, QueueFull, StageUnavailable, StartupError
from nextvec.settings import TlsSettings
from nextvec.tls import client_files
from nextvec.v1.decoder_pb2 import DecodeRequest
from nextvec.v1.decoder_pb2_grpc import DecoderServiceStub
from tests.gateway.conftest import PATIENT, item
from tests.gateway.toys import ToyDecoder


@pytest.fixture
def decoders(serving, tmp_path):
    """`async with decoders(count) as (system, toys, listed)`; `listed(toys)` changes who is in service."""

    @asynccontextmanager
    async def start(count, **settings):
        toys = [ToyDecoder() for _ in range(count)]
        for toy in toys:
            await toy.start()
        path = tmp_path / "decoders"

        def listed(serving):
            write_list(path, [toy.address for toy in serving])

        listed(toys)
        try:
            async with serving(**{**PATIENT, "decoder_address": f"file:{path}", **settings}) as system:
                yield system, toys, listed
        finally:
            for toy in toys:
                await toy.server.drain()

    return start


async def decoded(system, count, at_once=4):
    """Asks that many times; all must have been decoded."""
    slots = asyncio.Semaphore(at_once)

    async def one():
        async with slots:
            response = await system.complete(on="direct", bypass_cache=True)
            assert not response.degraded

    await asyncio.gather(*(one() for _ in range(count)))


async def reached(system, toys):
    """Waits until all are connected: each has been asked."""
    async with asyncio.timeout(20):
        while 0 in counted(toys):
            await decoded(system, 1)


def counted(toys):
    return [len(toy.requests) for toy in toys]


async def test_requests_go_round_over_the_replicas(decoders):
    async with decoders(3) as (system, toys, _):
        await reached(system, toys)
        for toy in toys:
            toy.requests.clear()
        await decoded(system, 30, at_once=1)
        assert counted(toys) == [10, 10, 10]


async def test_a_replica_that_is_slow_is_given_less(decoders):
    async with decoders(2) as (system, (slow, fast), _):
        await reached(system, [slow, fast])
        slow.requests.clear()
        release = asyncio.Event()
        slow.before = lambda request: release.wait()
        work = asyncio.create_task(decoded(system, 20, at_once=3))
        async with asyncio.timeout(30):
            while len(fast.requests) < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # One waits there; while it does, the other one always has fewer in flight, or as few.
        assert len(slow.requests) <= 2
        release.set()
        await work


async def test_a_replica_that_comes_is_used_and_one_that_leaves_is_not(decoders):
    async with decoders(2) as (system, (one, two), listed):
        listed([one])
        await asyncio.sleep(1)
        two.requests.clear()
        await decoded(system, 6)
        assert not two.requests
        listed([one, two])
        await reached(system, [two])


async def test_what_a_leaving_replica_has_in_flight_is_finished(decoders):
    async with decoders(2) as (system, (one, two), listed):
        listed([one])
        await asyncio.sleep(1)
        started, release = asyncio.Event(), asyncio.Event()

        async def before(request):
            started.set()
            await release.wait()

        one.before = before
        work = asyncio.create_task(system.complete(on="direct"))
        await asyncio.wait_for(started.wait(), 5)
        listed([two])
        await asyncio.sleep(1)
        await decoded(system, 2)
        release.set()
        assert not (await work).degraded
        assert len(one.requests) == 1


async def test_a_list_that_is_gone_for_a_moment_changes_nothing(decoders, tmp_path):
    async with decoders(2) as (system, toys, listed):
        (tmp_path / "decoders").unlink()
        await asyncio.sleep(1)
        await decoded(system, 4)
        (tmp_path / "decoders").write_text("nonsense")
        await asyncio.sleep(1)
        await decoded(system, 4)
        listed(toys)


async def test_a_stage_with_no_replica_is_named_and_one_that_starts_is_used(decoders):
    async with decoders(1, encoder_address="file:/nowhere") as (system, _, _):
        with pytest.raises(StageUnavailable, match=r"the encoder stage at file:/nowhere cannot be reached"):
            await system.complete()


async def test_a_decoder_that_refuses_is_left_for_one_that_does_not(decoders):
    async with decoders(2) as (system, (full, free), _):

        async def refuse(request):
            raise QueueFull("the queue is full", 5_000)

        full.before = refuse
        await decoded(system, 10)
        assert len(free.requests) == 10
        assert system.sample("retries_total", stage="decoder", reason="full") == len(full.requests)


async def test_a_full_stage_is_waited_for_where_the_deadline_allows(decoders):
    async with decoders(1) as (system, (toy,), _):

        async def refuse_once(request):
            if len(toy.requests) == 1:
                raise QueueFull("the queue is full", 20)

        toy.before = refuse_once
        await decoded(system, 1)
        assert len(toy.requests) == 2
        toy.requests.clear()

        async def refuse_for_long(request):
            raise QueueFull("the queue is full", 60_000)

        toy.before = refuse_for_long
        with pytest.raises(QueueFull):
            await system.complete(on="direct")
        assert len(toy.requests) == 1


async def test_bad_input_is_never_sent_twice(decoders):
    async with decoders(3) as (system, toys, _):

        async def refuse(request):
            raise InvalidInput("rungs is wrong")

        for toy in toys:
            toy.before = refuse
        with pytest.raises(InvalidInput, match="rungs is wrong"):
            await system.complete(on="direct")
        assert sum(counted(toys)) == 1


async def test_the_budget_bounds_what_a_failing_stage_is_given(decoders):
    async with decoders(2) as (_, toys, _):

        async def fail(request):
            raise QueueFull("the queue is full", 60_000)

        for toy in toys:
            toy.before = fail
        # Below the pipeline, whose breaker would leave the stage alone.
        address = ",".join(toy.address for toy in toys)
        stages = Stages(
            GatewaySettings(**PATIENT, decoder_address=address), GatewayMetrics(CollectorRegistry())
        )
        try:
            for _ in range(250):
                with pytest.raises(QueueFull):
                    await stages.decode(DecodeRequest(), Call("a", Deadline.after(20)), print)
        finally:
            await stages.close()
        # A burst of 128, and a fifth of 250 calls.
        assert 250 + 128 <= sum(counted(toys)) <= 250 + 128 + 50 + 1


async def test_hypotheses_that_were_passed_on_are_not_told_again_by_another_replica(decoders):
    async with decoders(2) as (system, toys, _):
        broken = []

        def breaking(toy):
            decode = toy.decode

            def decode_and_break(request):
                for response in decode(request):
                    if not broken and response.HasField("result"):
                        broken.append(toy)
                        raise StageUnavailable("the decoder is draining")
                    yield response

            return decode_and_break

        for toy in toys:
            toy.decode = breaking(toy)
        responses = await system.generate(item("a", hypotheses=True), on="direct")
        steps = [r.hypothesis.hypothesis.step for r in responses if r.HasField("hypothesis")]
        assert steps == [0, 1]
        assert responses[-1].complete.chunks[0].text.startswith("decoded")
        assert counted(toys) == [1, 1]
        assert system.sample("retries_total", stage="decoder", reason="unavailable") == 1


async def test_a_replica_that_does_not_answer_is_set_aside(decoders):
    async with decoders(2, decode_seconds=1) as (system, (paused, other), _):
        paused.before = lambda request: asyncio.sleep(60)
        responses = [await system.complete(on="direct", bypass_cache=True) for _ in range(12)]
        assert sum(bool(response.degraded) for response in responses) <= 1
        assert len(paused.requests) <= 1
        assert len(other.requests) >= 11


async def test_the_name_that_an_address_was_found_under_is_what_its_certificate_must_show(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = TlsSettings(tls_ca=tmp_path / "ca.pem")
    decoder = ToyDecoder()
    for name, fits in (("localhost", True), ("elsewhere.example", False)):
        pair = authority.issue_cert(name)
        pair.private_key_pem.write_to_path(tmp_path / "key.pem")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
        await decoder.start(tls_certificate=tmp_path / "certificate.pem", tls_key=tmp_path / "key.pem")

        def connect(endpoint):
            return open_channel(endpoint.address, tls, name=endpoint.name, one_replica=True)

        port = decoder.server.port
        replicas = Replicas("decoder", f"localhost:{port}", connect, DecoderServiceStub)
        try:
            if fits:
                async with asyncio.timeout(10):
                    while not replicas.ready():  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            else:
                await asyncio.sleep(1)
                assert not replicas.ready()
        finally:
            await replicas.close()
            await decoder.server.drain()


async def test_half_a_client_certificate_leaves_the_channels_and_the_whole_one_makes_new_ones(tmp_path):
    authority = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "key", "certificate")}
    authority.cert_pem.write_to_path(paths["ca"])

    def replace(*names):
        pair = authority.issue_cert("127.0.0.1")
        blobs = {"key": pair.private_key_pem, "certificate": pair.cert_chain_pems[0]}
        for name in names:
            blobs[name].write_to_path(tmp_path / "draft")
            (tmp_path / "draft").rename(paths[name])

    replace("key", "certificate")
    files = {"tls_certificate": paths["certificate"], "tls_key": paths["key"]}
    tls = TlsSettings(tls_ca=paths["ca"], **files)
    decoder = ToyDecoder()
    await decoder.start(tls_client_ca=paths["ca"], **files)

    def connect(endpoint):
        return open_channel(endpoint.address, tls, name=endpoint.name, one_replica=True)

    async def connected():
        async with asyncio.timeout(10):
            while not (ready := replicas.ready()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return ready

    replicas = Replicas("decoder", decoder.address, connect, DecoderServiceStub, lambda: client_files(tls))
    try:
        (first,) = await connected()
        replace("key")
        # Longer than it takes to look at the files again.
        await asyncio.sleep(2.5)
        assert replicas.ready() == [first]
        replace("key", "certificate")
        async with asyncio.timeout(10):
            while await replicas.pick() is first:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        (second,) = await connected()
        assert second is not first
    finally:
        await replicas.close()
        await decoder.server.drain()


async def test_channels_are_made_anew_when_the_edition_changes_and_kept_when_that_fails():
    decoder = ToyDecoder()
    await decoder.start()
    edition, opened = 1, []

    def connect(endpoint):
        if edition == 2:
            raise StartupError("NEXTVEC_TLS_CA: no such file")
        opened.append(edition)
        return open_channel(endpoint.address, one_replica=True)

    replicas = Replicas("decoder", decoder.address, connect, DecoderServiceStub, lambda: edition)
    try:
        first = await replicas.pick()
        edition = 2
        await asyncio.sleep(1.5)
        assert await replicas.pick() is first
        edition = 3
        async with asyncio.timeout(10):
            while await replicas.pick() is first:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert opened == [1, 3]
    finally:
        await replicas.close()
        await decoder.server.drain()
