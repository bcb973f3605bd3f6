"""A process for tests of the supervisor: `python -m tests.cli.toy_process`, told what to do by TOY_."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry

from nextvec.metrics import Metrics
from nextvec.server import Server, Service, run, serve
from nextvec.settings import ServerSettings
from nextvec.stream import serve_items
from nextvec.v1 import encoder_pb2, encoder_pb2_grpc


class SlowEncoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Answers after TOY_SECONDS."""

    async def Encode(self, request_iterator, context) -> AsyncIterator[encoder_pb2.EncodeResponse]:
        async def handle(request):
            await asyncio.sleep(float(os.environ.get("TOY_SECONDS", "0")))
            return encoder_pb2.EncodeResponse(result=encoder_pb2.EncodeResult(model_id="toy"))

        async for response in serve_items(request_iterator, handle, encoder_pb2.EncodeResponse):
            yield response


async def main() -> None:
    """Serves, or dies as TOY_DIE says: at the start, or some seconds later."""
    die = os.environ.get("TOY_DIE")
    if die == "start":
        sys.exit("the weights are missing")
    service = Service(
        "nextvec.v1.EncoderService",
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server,
        SlowEncoder(),
    )
    metrics = Metrics(CollectorRegistry())
    settings = ServerSettings(drain_seconds=5)
    server = Server(settings, int(os.environ["TOY_PORT"]), [service], metrics, serving=die != "sick")
    say("a line too long for any buffer" + "x" * 3_000_000)
    say("hello")
    await serve([server], settings, metrics)
    say("goodbye")


def say(line: str) -> None:
    """Says something at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(main))
