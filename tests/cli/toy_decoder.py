"""A decoder process without weights: `python -m tests.cli.toy_decoder`. Its model id names its port."""

import asyncio
import os
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from nextvec.metrics import Metrics
from nextvec.routes import stage_named
from nextvec.server import Server, Service, run, serve
from nextvec.settings import ServerSettings
from tests.gateway.toys import ToyDecoder


async def main() -> None:
    """Serves on NEXTVEC_PORT, a tenth of a second for each request."""
    port = int(os.environ["NEXTVEC_PORT"])
    decoder = ToyDecoder(model_id=f"toy-decoder-{port}")
    decoder.before = lambda request: asyncio.sleep(0.1)
    service = Service(stage_named("decoder").service, decoder.add, decoder)
    settings, metrics = ServerSettings(drain_seconds=10), Metrics(CollectorRegistry())
    await serve([Server(settings, port, [service], metrics)], settings, metrics)


if __name__ == "__main__":
    if Path(os.environ["TOY_BROKEN"]).exists():
        sys.exit("the weights are missing")
    sys.exit(run(main))
