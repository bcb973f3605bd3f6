"""Equal computations are made once, for as long as anyone waits."""

import asyncio

import pytest

from nextvec.flight import SingleFlight


async def test_equal_requests_compute_once_and_all_hear_everything():
    flights, runs, go = SingleFlight(), [], asyncio.Event()

    async def work(publish):
        runs.append(1)
        publish("early")
        await go.wait()
        publish("late")
        return "done"

    heard = [[], [], []]
    first = asyncio.create_task(flights.run("a", work, heard[0].append))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(flights.run("a", work, heard[i].append)) for i in (1, 2)]
    await asyncio.sleep(0.01)
    go.set()
    assert await asyncio.gather(first, *others) == ["done"] * 3
    assert runs == [1]
    assert heard == [["early", "late"]] * 3


async def test_different_keys_and_later_requests_compute_anew():
    flights, runs = SingleFlight(), []

    async def work(publish):
        runs.append(1)
        return len(runs)

    assert await flights.run("a", work) == 1
    assert await flights.run("a", work) == 2
    assert await flights.run("b", work) == 3


async def test_the_computation_outlives_whoever_began_it():
    flights, go = SingleFlight(), asyncio.Event()

    async def work(publish):
        await go.wait()
        return "done"

    first = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await second == "done"
    assert first.cancelled()


async def test_it_is_cancelled_when_the_last_one_has_gone():
    flights, cancelled = SingleFlight(), asyncio.Event()

    async def work(publish):
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    waiting = [asyncio.create_task(flights.run("a", work)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait_for(cancelled.wait(), 1)


async def test_everybody_gets_the_failure_and_the_next_one_tries_again():
    flights, runs = SingleFlight(), []

    async def work(publish):
        runs.append(1)
        await asyncio.sleep(0.01)
        if len(runs) == 1:
            raise ValueError("no")
        return "done"

    failures = await asyncio.gather(*(flights.run("a", work) for _ in range(3)), return_exceptions=True)
    assert [str(failure) for failure in failures] == ["no"] * 3
    assert await flights.run("a", work) == "done"


@pytest.mark.parametrize("turns", range(6))
async def test_nobody_joins_a_computation_that_is_over(turns):
    flights, runs = SingleFlight(), []

    async def work(publish):
        runs.append(1)
        raise ValueError("no")

    first = asyncio.create_task(flights.run("a", work))
    for _ in range(turns):
        await asyncio.sleep(0)
    over = bool(runs)
    with pytest.raises(ValueError, match="no"):
        await flights.run("a", work)
    await asyncio.wait([first])
    assert first.exception()
    assert len(runs) == 1 + over


async def test_a_listener_that_left_hears_nothing_more():
    flights, heard, go = SingleFlight(), [], asyncio.Event()

    async def work(publish):
        await go.wait()
        publish("late")

    leaver = asyncio.create_task(flights.run("a", work, heard.append))
    await asyncio.sleep(0)
    stayer = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    go.set()
    await stayer
    assert heard == []
