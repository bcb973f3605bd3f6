"""One real system for all tests that leave it as it was."""

import pytest

from tests.e2e.running import Running


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    """The whole system with the real models and the embedded cache."""
    with Running(tmp_path_factory.mktemp("system"), NEXTVEC_REDIS_URL="") as running:
        yield running
