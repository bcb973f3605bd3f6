"""Who may call: every RPC of a gateway but health checks needs a key, where the gateway has keys."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from gateway.keys import Keyring, holder
from nextvec.apikey import METADATA_KEY
from nextvec.errors import NextvecError, status_of, trailing_metadata
from nextvec.request import caller

_OPEN = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/"
"""Probes have no keys, and health says nothing but whether the gateway serves."""


class KeyInterceptor(grpc.aio.ServerInterceptor):
    """Asks every call to one route's port for its key; the RPC is then that key's."""

    def __init__(self, keyring: Keyring, route: str) -> None:
        self._keyring = keyring
        self._route = route

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        # A method that does not exist is not refused: whoever counts refusals by method would count any name.
        if handler is None or str(handler_call_details.method).startswith(_OPEN):
            return handler
        shown: Any = dict(handler_call_details.invocation_metadata or ())
        try:
            key = self._keyring.authenticate(shown.get(METADATA_KEY), self._route)
        except NextvecError as error:
            return _refusal(error)
        holder.set(key)
        caller.set(key.id)
        return handler


def _refusal(error: NextvecError) -> grpc.RpcMethodHandler:
    """Ends the call before any of its messages is read; as a stream, which no message has to come for."""

    async def refuse(requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        await context.abort(status_of(error), error.message, trailing_metadata(error))
        yield

    return grpc.stream_stream_rpc_method_handler(refuse)
