"""The Python client of a gateway.

    from nextvec.client import Client

    with Client("localhost:9001") as client:
        print(client.complete("The kettle began to sing. She took it off the stove.").text)

Failures raise the classes of `nextvec.errors`. `AsyncClient` is the same for event loops. A gateway that
asks for API keys takes one as `Client(address, key=...)`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from pydantic import SecretStr

from nextvec import apikey
from nextvec.channel import open_blocking_channel, open_channel
from nextvec.errors import NextvecError, StageUnavailable, from_rpc
from nextvec.logs import get_log
from nextvec.ports import is_loopback
from nextvec.settings import TlsSettings, variable
from nextvec.stream import raise_for_item
from nextvec.v1.gateway_pb2 import (
    Chunk,
    CompleteRequest,
    CompleteResponse,
    GenerateRequest,
    GenerateResponse,
    ListRoutesRequest,
    RouteInfo,
)
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub

log = get_log(__name__)

DEFAULT_ADDRESS = "localhost:9001"


@dataclass(frozen=True)
class Completion:
    """What a gateway wrote; `response` is the whole message, with times, neighbours and model ids."""

    response: CompleteResponse

    @property
    def text(self) -> str:
        """The generated chunks as one text."""
        return " ".join(chunk.text for chunk in self.response.chunks)

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The generated chunks, in order."""
        return self.response.chunks

    @property
    def degraded(self) -> Sequence[str]:
        """What was less than it should be and why; empty when nothing was."""
        return self.response.degraded


def completion_request(
    text: str | Sequence[str],
    *,
    chunks: int = 1,
    route: str = "",
    snap_policy: str = "",
    rungs: Sequence[int] = (),
    bypass_cache: bool = False,
) -> CompleteRequest:
    """The request for a text in one piece, or for chunks already cut, oldest first."""
    paragraph, messages = (text, ()) if isinstance(text, str) else ("", tuple(text))
    return CompleteRequest(
        paragraph=paragraph,
        messages=messages,
        route=route,
        max_chunks=chunks,
        snap_policy=snap_policy,
        rungs=rungs,
        bypass_cache=bypass_cache,
    )


class Client:
    """Calls one gateway port, whose route answers. Safe to share between threads."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: TlsSettings | None = None,
        key: SecretStr | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """`timeout` in seconds bounds every call; without, the gateway's own budget does.

        `key` is an API key, sent with every call; raises Unauthenticated where it is none.
        """
        self._address = address
        self._metadata = _shown(key, address, tls)
        self._channel = open_blocking_channel(address, tls)
        self._stub: Any = GatewayServiceStub(self._channel)
        self._timeout = timeout

    def complete(self, text: str | Sequence[str], **options: Any) -> Completion:
        """Continues a text; `options` are those of `completion_request`, such as chunks=3."""
        try:
            return Completion(
                self._stub.Complete(
                    completion_request(text, **options), timeout=self._timeout, metadata=self._metadata
                )
            )
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None

    def generate(
        self, text: str | Sequence[str], *, hypotheses: bool = True, **options: Any
    ) -> Iterator[GenerateResponse]:
        """Continues a text and yields what happens on the way: stages, hypotheses, chunks, the whole."""
        call = self._stub.Generate(
            iter([_item(text, hypotheses, options)]), timeout=self._timeout, metadata=self._metadata
        )
        try:
            for event in call:
                yield raise_for_item(event)
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None
        finally:
            call.cancel()

    def routes(self) -> Sequence[RouteInfo]:
        """Every port of the gateway, its model and what that was trained on."""
        try:
            answer: Sequence[RouteInfo] = self._stub.ListRoutes(
                ListRoutesRequest(), timeout=self._timeout, metadata=self._metadata
            ).routes
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None
        return answer

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The same for event loops."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: TlsSettings | None = None,
        key: SecretStr | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """`timeout` in seconds bounds every call; without, the gateway's own budget does.

        `key` is an API key, sent with every call; raises Unauthenticated where it is none.
        """
        self._address = address
        self._metadata = _shown(key, address, tls)
        self._channel = open_channel(address, tls)
        self._stub: Any = GatewayServiceStub(self._channel)
        self._timeout = timeout

    async def complete(self, text: str | Sequence[str], **options: Any) -> Completion:
        """Continues a text; `options` are those of `completion_request`, such as chunks=3."""
        try:
            return Completion(
                await self._stub.Complete(
                    completion_request(text, **options), timeout=self._timeout, metadata=self._metadata
                )
            )
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None

    async def generate(
        self, text: str | Sequence[str], *, hypotheses: bool = True, **options: Any
    ) -> AsyncIterator[GenerateResponse]:
        """Continues a text and yields what happens on the way: stages, hypotheses, chunks, the whole."""
        call = self._stub.Generate(
            iter([_item(text, hypotheses, options)]), timeout=self._timeout, metadata=self._metadata
        )
        try:
            async for event in call:
                yield raise_for_item(event)
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None
        finally:
            call.cancel()

    async def routes(self) -> Sequence[RouteInfo]:
        """Every port of the gateway, its model and what that was trained on."""
        try:
            answer = await self._stub.ListRoutes(
                ListRoutesRequest(), timeout=self._timeout, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise _explained(error, self._address) from None
        routes: Sequence[RouteInfo] = answer.routes
        return routes

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _item(text: str | Sequence[str], hypotheses: bool, options: dict[str, Any]) -> GenerateRequest:
    return GenerateRequest(
        request_id="1", request=completion_request(text, **options), stream_hypotheses=hypotheses
    )


def _shown(key: SecretStr | str | None, address: str, tls: TlsSettings | None) -> tuple[tuple[str, str], ...]:
    """The metadata for a key. One that leaves the machine in plain text is sent, and the log says so."""
    host = address.rpartition("/")[2].rpartition(":")[0]
    if key is not None and not (tls and tls.tls_ca) and not is_loopback(host):
        log.warning("api key in plain text", address=address, remedy=f"set {variable('tls_ca')}")
    return apikey.credentials(key)


def _explained(error: grpc.RpcError, address: str) -> NextvecError:
    """The error behind a failed call; nobody listening is told apart from a stage that is down."""
    known = from_rpc(error, f"the gateway at {address}")
    if isinstance(known, StageUnavailable) and "failed to connect" in known.message.lower():
        return StageUnavailable(f"nobody answers at {address}; start the system with `nextvec up`")
    return known
