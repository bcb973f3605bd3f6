import asyncio

import pytest
import trustme
from prometheus_client import CollectorRegistry

from nextvec.channel import open_channel
from nextvec.errors import StageUnavailable, StartupError
from nextvec.metrics import Metrics
from nextvec.server import Server
from nextvec.settings import ServerSettings, TlsSettings
from nextvec.stream import ask
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub


async def answer(request):
    return EncodeResponse()


async def call(address, tls=None):
    async with open_channel(address, tls) as channel:
        return await ask(EncoderServiceStub(channel).Encode, EncodeRequest(), stage="encoder")


async def test_calls_go_round_over_all_addresses(serving):
    async with serving(answer) as one, serving(answer) as two:
        addresses = f"ipv4:///{one.address},{two.address}"
        async with open_channel(addresses) as channel:
            stub = EncoderServiceStub(channel)

            def served():
                labels = {"method": "EncoderService/Encode", "code": "OK"}
                return [
                    toy.metrics.registry.get_sample_value("nextvec_requests_total", labels) or 0
                    for toy in (one, two)
                ]

            async with asyncio.timeout(5):
                while 0 in served():
                    await ask(stub.Encode, EncodeRequest(), stage="encoder")


async def test_an_unavailable_stage_is_tried_again_on_another_replica(serving):
    failures = []

    class FailingOnce:
        async def Encode(self, request_iterator, context):
            async for _ in request_iterator:
                if not failures:
                    failures.append(1)
                    raise StageUnavailable("draining")
                yield EncodeResponse()

    async with serving(answer, FailingOnce()) as toy:
        await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
    assert failures == [1]


async def test_the_retries_of_a_stage_that_keeps_failing_end(serving):
    calls = []

    class Failing:
        async def Encode(self, request_iterator, context):
            calls.append(1)
            raise StageUnavailable("down")
            yield

    async with serving(answer, Failing()) as toy:
        for _ in range(20):
            with pytest.raises(StageUnavailable):
                await ask(toy.stub.Encode, EncodeRequest(), stage="encoder")
    assert 20 <= len(calls) <= 30


@pytest.fixture
def pems(tmp_path):
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "key", "certificate")}
    authority.cert_pem.write_to_path(paths["ca"])
    pair.private_key_pem.write_to_path(paths["key"])
    pair.cert_chain_pems[0].write_to_path(paths["certificate"])
    return paths


async def test_tls_needs_the_authority_and_no_certificate_of_the_client(serving, pems):
    async with serving(answer, tls_certificate=pems["certificate"], tls_key=pems["key"]) as toy:
        await call(toy.address, TlsSettings(tls_ca=pems["ca"]))
        with pytest.raises(StageUnavailable):
            await call(toy.address)


async def test_mutual_tls_refuses_a_client_without_a_certificate(serving, pems):
    pair = {"tls_certificate": pems["certificate"], "tls_key": pems["key"]}
    async with serving(answer, tls_client_ca=pems["ca"], **pair) as toy:
        await call(toy.address, TlsSettings(tls_ca=pems["ca"], **pair))
        with pytest.raises(StageUnavailable):
            await call(toy.address, TlsSettings(tls_ca=pems["ca"]))


async def test_a_bad_tls_file_is_named_at_startup(tmp_path, pems):
    missing = TlsSettings(tls_ca=tmp_path / "none.pem")
    with pytest.raises(StartupError, match=r"NEXTVEC_TLS_CA=.*none\.pem': No such file"):
        open_channel("127.0.0.1:1", missing)
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    settings = ServerSettings(tls_certificate=junk, tls_key=junk)
    with pytest.raises(StartupError, match="a matching certificate and key in PEM"):
        await Server(settings, 0, [], Metrics(CollectorRegistry())).start()
