"""What tests of several parts share: a real Redis, a gateway without stages, and the log of this process."""

import io
import json

import pytest

from benchmarks.redis_process import RedisProcess
from nextvec.logs import configure_logs
from tests.toy_gateway import ToyGateway


@pytest.fixture
def redis_process(tmp_path):
    """A real Redis that runs; the test may stop and start it."""
    process = RedisProcess(tmp_path)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def toy_gateway():
    """A gateway without stages."""
    gateway = ToyGateway()
    yield gateway
    gateway.server.stop(None)


@pytest.fixture
def log_lines():
    """Reads what was logged so far, a record a line."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    configure_logs("warning")
