"""What tests of several parts share: a real Redis, and a gateway without stages."""

import pytest

from benchmarks.redis_process import RedisProcess
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
