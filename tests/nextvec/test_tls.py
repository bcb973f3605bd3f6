"""Certificates that are replaced: new connections see the new ones, open ones live on."""

import asyncio
import shutil
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from nextvec.channel import open_channel
from nextvec.errors import StageUnavailable, StartupError
from nextvec.settings import ServerSettings, TlsSettings
from nextvec.stream import ask
from nextvec.tls import client_credentials, client_files, server_credentials
from nextvec.v1.encoder_pb2 import EncodeRequest
from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub
from tests.nextvec.test_channel import answer


class Authority:
    """Writes certificates of its own to a folder, as an operator's tool does: each file in one step."""

    def __init__(self, folder):
        self.ca = trustme.CA()
        self.folder = folder

    def write(self, *names):
        """New files of these names, of key, certificate and ca."""
        pair = self.ca.issue_cert("127.0.0.1")
        blobs = {"key": pair.private_key_pem, "certificate": pair.cert_chain_pems[0], "ca": self.ca.cert_pem}
        for name in names:
            draft = self.folder / "draft"
            blobs[name].write_to_path(draft)
            draft.rename(self.folder / f"{name}.pem")


@pytest.fixture
def authority(tmp_path):
    authority = Authority(tmp_path)
    authority.write("key", "certificate", "ca")
    return authority


@pytest.fixture
def paths(authority):
    return {name: authority.folder / f"{name}.pem" for name in ("key", "certificate", "ca")}


def server_files(paths, *, mutual=False):
    files = {"tls_certificate": paths["certificate"], "tls_key": paths["key"]}
    return {**files, "tls_client_ca": paths["ca"]} if mutual else files


async def shown_certificate(address):
    """The certificate that a new connection is shown."""
    host, port = address.rsplit(":", 1)
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


async def call(address, tls):
    async with open_channel(address, tls) as channel:
        await ask(EncoderServiceStub(channel).Encode, EncodeRequest(texts=["a"]), stage="encoder")


@asynccontextmanager
async def running_stream(address, tls):
    """A stream of items that is open; `say()` sends one and waits for its answer."""
    items = asyncio.Queue()

    async def sending():
        while (item := await items.get()) is not None:
            yield item

    async with open_channel(address, tls) as channel:
        stream = EncoderServiceStub(channel).Encode(sending())

        async def say(text):
            await items.put(EncodeRequest(request_id=text, texts=[text]))
            response = await asyncio.wait_for(stream.read(), 10)
            return response.request_id

        yield say
        await items.put(None)


@pytest.mark.parametrize("mutual", [False, True])
async def test_new_connections_see_new_certificates_and_a_running_stream_lives_on(
    serving, authority, paths, mutual
):
    client = TlsSettings(tls_ca=paths["ca"], **(server_files(paths) if mutual else {}))
    async with (
        serving(answer, **server_files(paths, mutual=mutual)) as toy,
        running_stream(toy.address, client) as say,
    ):
        assert await say("before") == "before"
        old = await shown_certificate(toy.address)
        assert await shown_certificate(toy.address) == old
        authority.write("key", "certificate")
        new = await shown_certificate(toy.address)
        assert new != old
        assert ssl.PEM_cert_to_DER_cert(new) == ssl.PEM_cert_to_DER_cert(paths["certificate"].read_text())
        assert await say("after") == "after"
        await call(toy.address, client)


async def test_half_a_pair_is_not_taken_and_the_log_says_so(serving, authority, paths, log_lines):
    async with serving(answer, **server_files(paths)) as toy:
        old = await shown_certificate(toy.address)
        authority.write("key")
        assert await shown_certificate(toy.address) == old
        assert await shown_certificate(toy.address) == old
        problems = [line for line in log_lines() if line["event"] == "certificates not reloaded"]
        assert len(problems) == 1
        assert "matching certificate and key" in problems[0]["problem"]
        authority.write("key", "certificate")
        assert await shown_certificate(toy.address) != old


async def test_a_certificate_that_is_gone_leaves_the_old_one(serving, paths):
    async with serving(answer, **server_files(paths)) as toy:
        old = await shown_certificate(toy.address)
        paths["certificate"].unlink()
        assert await shown_certificate(toy.address) == old


async def test_a_new_authority_for_clients_replaces_the_old_one(serving, authority, paths, tmp_path):
    own = {name: tmp_path / f"client-{name}.pem" for name in ("key", "certificate", "ca")}
    for name, path in own.items():
        shutil.copy(paths[name], path)
    client = TlsSettings(tls_ca=own["ca"], tls_certificate=own["certificate"], tls_key=own["key"])
    async with serving(answer, **server_files(paths, mutual=True)) as toy:
        await call(toy.address, client)
        other = Authority(tmp_path / "other")
        other.folder.mkdir()
        other.write("ca")
        (other.folder / "ca.pem").rename(paths["ca"])
        with pytest.raises(StageUnavailable):
            await call(toy.address, client)


def test_a_new_channel_has_new_files_and_the_signature_says_when(authority, paths):
    settings = TlsSettings(tls_ca=paths["ca"], **server_files(paths))
    before = client_files(settings)
    assert client_files(settings) == before
    authority.write("certificate", "key")
    assert client_files(settings) != before


@pytest.mark.parametrize("missing", ["key", "certificate", "ca"])
def test_a_missing_file_is_named_at_the_start(paths, missing):
    paths[missing].unlink()
    settings = ServerSettings(**server_files(paths, mutual=True))
    with pytest.raises(StartupError, match=rf"{missing}\.pem': No such file.*name a PEM file"):
        server_credentials(settings)


@pytest.mark.parametrize("half", ["key", "certificate"])
def test_a_client_does_not_take_half_a_pair(authority, paths, half):
    settings = TlsSettings(tls_ca=paths["ca"], **server_files(paths))
    assert client_credentials(settings)
    authority.write(half)
    with pytest.raises(StartupError, match=r"NEXTVEC_TLS_CERTIFICATE.*matching certificate and key"):
        client_credentials(settings)
    authority.write("certificate", "key")
    assert client_credentials(settings)


@pytest.mark.parametrize("missing", ["key", "certificate", "ca"])
def test_a_missing_file_of_a_client_is_named(paths, missing):
    paths[missing].unlink()
    settings = TlsSettings(tls_ca=paths["ca"], **server_files(paths))
    with pytest.raises(StartupError, match=rf"{missing}\.pem': No such file.*name a PEM file"):
        client_credentials(settings)


def test_a_client_needs_no_certificate_of_its_own(paths):
    assert client_credentials(TlsSettings(tls_ca=paths["ca"]))


def test_authorities_of_a_client_that_are_none_are_refused(paths):
    paths["ca"].write_text("nonsense")
    with pytest.raises(StartupError, match=r"NEXTVEC_TLS_CA: .*authorities in PEM"):
        client_credentials(TlsSettings(tls_ca=paths["ca"]))


async def test_a_client_of_another_authority_is_refused(serving, paths, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    stranger.folder.mkdir()
    stranger.write("key", "certificate", "ca")
    files = {name: stranger.folder / f"{name}.pem" for name in ("key", "certificate")}
    settings = TlsSettings(tls_ca=paths["ca"], tls_certificate=files["certificate"], tls_key=files["key"])
    async with serving(answer, **server_files(paths, mutual=True)) as toy:
        with pytest.raises(StageUnavailable):
            await call(toy.address, settings)
