"""The replicas of one stage, and which of them is asked next.

The gateway balances itself instead of leaving it to gRPC's round robin. One channel takes one fixed list of
addresses, and looks a name up again only when a connection is lost, so that a new pod stays idle until an
old one goes; and round robin gives a replica that hangs as much as one that answers. Here the list is read
again all the time, in a cluster and on a laptop by the same code, and a call goes to the replica with the
fewest calls in flight, in turn where several have as few.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc

from nextvec.addresses import Addresses, Endpoint
from nextvec.errors import StageUnavailable, StartupError
from nextvec.logs import get_log

log = get_log(__name__)

ASIDE_SECONDS = 5.0
"""How long a replica that did not answer in time is asked only where there is no other."""


class Replica:
    """One replica: a connection of its own, and the calls in flight over it."""

    def __init__(self, endpoint: Endpoint, channel: grpc.aio.Channel, stub: Any) -> None:
        self.address = endpoint.address
        self.channel = channel
        self.stub = stub
        self.in_flight = 0
        self._aside_until = 0.0

    @property
    def ready(self) -> bool:
        """Whether it is connected. Asking makes a lost connection try again."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    @property
    def aside(self) -> bool:
        """Whether it was late a moment ago."""
        return time.monotonic() < self._aside_until

    def set_aside(self) -> None:
        """It was late: a paused process keeps its connections, and swallows all it is given."""
        self._aside_until = time.monotonic() + ASIDE_SECONDS

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Counts a call in flight."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


class Replicas:
    """Follows a setting of addresses, with a channel to each. Made inside the event loop."""

    def __init__(
        self,
        stage: str,
        setting: str,
        connect: Callable[[Endpoint], grpc.aio.Channel],
        make_stub: Callable[[grpc.aio.Channel], Any],
        edition: Callable[[], object] = lambda: None,
    ) -> None:
        """`setting` as `nextvec.addresses` has it. When `edition` changes, all channels are made anew."""
        self._where = f"the {stage} stage at {setting}"
        self._addresses = Addresses(setting)
        self._connect = connect
        self._make_stub = make_stub
        self._edition = edition
        self._seen: object = None
        self._current: dict[Endpoint, Replica] = {}
        self._leaving: list[Replica] = []
        self._turn = 0
        self._problem = ""
        self._looked = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    async def pick(self, tried: Collection[Replica] = ()) -> Replica:
        """The replica to ask next, one that is connected and not among `tried` where there is one.

        Raises StageUnavailable where the stage has no replica.
        """
        await self._looked.wait()
        replicas = list(self._current.values())
        if not replicas:
            why = self._problem or "no replica runs"
            raise StageUnavailable(f"{self._where} cannot be reached: {why}; start one, or wait for it")
        self._turn = (self._turn + 1) % len(replicas)
        in_turn = replicas[self._turn :] + replicas[: self._turn]
        return min(in_turn, key=lambda one: (not one.ready, one in tried, one.aside, one.in_flight))

    def ready(self) -> list[Replica]:
        """Those that are connected."""
        return [replica for replica in self._current.values() if replica.ready]

    async def close(self) -> None:
        """Closes all channels."""
        self._following.cancel()
        await asyncio.wait([self._following])
        for replica in [*self._current.values(), *self._leaving]:
            await replica.channel.close()

    async def _follow(self) -> None:
        while True:
            try:
                self._take(await self._addresses.endpoints())
                self._problem = ""
            except (OSError, ValueError, StartupError) as error:
                # What cannot be looked up now may still be there, and TLS files may be half replaced: the
                # channels there are stay.
                if not self._problem:
                    log.warning("replicas not followed", stage=self._where, error=str(error))
                self._problem = str(error)
            self._looked.set()
            await self._close_left()
            await asyncio.sleep(self._addresses.refresh_seconds)

    def _take(self, endpoints: list[Endpoint]) -> None:
        edition = self._edition()
        kept = self._current if edition == self._seen else {}
        current = {endpoint: kept.get(endpoint) or self._open(endpoint) for endpoint in endpoints}
        for replica in set(self._current.values()) - set(current.values()):
            log.info("replica left", stage=self._where, address=replica.address)
            self._leaving.append(replica)
        self._current, self._seen = current, edition
        # A call should not have to wait for the first connection, nor for one that was lost.
        self.ready()

    def _open(self, endpoint: Endpoint) -> Replica:
        log.info("replica found", stage=self._where, address=endpoint.address)
        channel = self._connect(endpoint)
        return Replica(endpoint, channel, self._make_stub(channel))

    async def _close_left(self) -> None:
        done = [replica for replica in self._leaving if not replica.in_flight]
        self._leaving = [replica for replica in self._leaving if replica.in_flight]
        for replica in done:
            await replica.channel.close()
