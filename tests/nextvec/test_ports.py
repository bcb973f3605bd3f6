"""Ports: free and taken."""

import socket

import pytest

from nextvec.errors import PortInUse, StartupError
from nextvec.ports import free_block, require_free


@pytest.fixture
def taken():
    """A port where somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_passes_and_a_taken_one_is_named(taken):
    require_free("127.0.0.1", free_block(1))
    with pytest.raises(PortInUse, match=str(taken)):
        require_free("127.0.0.1", taken)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(StartupError, match=r"192\.0\.2\.1"):
        require_free("192.0.2.1", 9001)


def test_a_block_is_free_and_keeps_clear_of_what_is_avoided():
    base = free_block(6)
    for port in range(base, base + 6):
        require_free("127.0.0.1", port)
    avoided = set(range(20_000, 26_000))
    assert free_block(2, avoid=avoided) >= 25_999
