"""Single flight: of equal requests that arrive while one is computed, only the first computes."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Event = TypeVar("Event")
Result = TypeVar("Result")


class _Flight(Generic[Event, Result]):
    def __init__(self) -> None:
        self.task: asyncio.Task[Result] | None = None
        self.waiters = 0
        self.events: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)
        for listener in self.listeners:
            listener(event)


class SingleFlight(Generic[Event, Result]):
    """Computations under way by key. Whoever joins gets the events so far, those to come, and the result.

    A computation belongs to nobody: it goes on while anyone waits for it, and is cancelled when the last
    one has gone.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Event, Result]] = {}

    async def run(
        self,
        key: Hashable,
        work: Callable[[Callable[[Event], None]], Awaitable[Result]],
        listen: Callable[[Event], None] = lambda event: None,
    ) -> Result:
        """The result of `work(publish)`, which runs unless it does already for `key`.

        `listen` is called with every event that `work` publishes. Raises what `work` raises.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, work)
        for event in flight.events:
            listen(event)
        flight.listeners.append(listen)
        flight.waiters += 1
        assert flight.task is not None
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.listeners.remove(listen)
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(
        self, key: Hashable, work: Callable[[Callable[[Event], None]], Awaitable[Result]]
    ) -> _Flight[Event, Result]:
        flight: _Flight[Event, Result] = _Flight()
        self._flights[key] = flight

        async def compute() -> Result:
            try:
                return await work(flight.publish)
            finally:
                # At once: whoever comes next must not join what is over, and fail by it again and again.
                self._forget(key, flight)

        def end(task: asyncio.Task[Result]) -> None:
            if not task.cancelled():
                task.exception()  # counts as retrieved, for the waiters may all have gone

        flight.task = asyncio.create_task(compute())
        flight.task.add_done_callback(end)
        return flight

    def _forget(self, key: Hashable, flight: _Flight[Event, Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
