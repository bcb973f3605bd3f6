"""Walks of many requests on one engine: sharing passes, leaving, being refused, failing alone."""

import asyncio
import threading

import pytest
import torch

from nextvec.deadline import Deadline
from nextvec.errors import QueueFull, StageUnavailable
from services.decoder.engine import Engine
from services.decoder.scheduler import Scheduler
from services.decoder.walk import Hypothesis, Walk


@pytest.fixture
async def scheduler(engine):
    scheduler = Scheduler(engine, queue_limit=100)
    yield scheduler
    await scheduler.close()
    assert not engine.busy


async def test_requests_together_get_what_each_gets_alone(scheduler, engine, vectors):
    wanted = engine.run(vectors, 3)
    walks = [Walk(vector) for vector in vectors]
    spent = await asyncio.gather(*(scheduler.run(walk, 3) for walk in walks))
    for walk, alone in zip(walks, wanted, strict=True):
        assert [h.ids for h in walk.hypotheses] == [h.ids for h in alone.hypotheses]
    assert all(s.queue_ms >= 0 and s.compute_ms > 0 for s in spent)


async def test_hypotheses_are_heard_in_order_as_they_form(scheduler, vectors):
    heard = []
    await scheduler.run(Walk(vectors[0]), 3, heard.append)
    assert [h.step for h in heard] == list(range(len(heard)))
    assert len(heard) > 1


async def test_a_walk_goes_on_from_where_it_stood(scheduler, engine, vectors):
    [whole] = engine.run(vectors[:1], 5)
    first = Walk(vectors[0])
    await scheduler.run(first, 1)
    resumed = first.standing.without_vectors().resume(vectors[0])
    await scheduler.run(resumed, 5)
    assert resumed.last.ids == whole.last.ids


class SlowEngine:
    """Brings one hypothesis of every walk a turn, when told to."""

    slots = 2

    def __init__(self):
        self.go = threading.Semaphore(0)
        self.walks = {}
        self.started = []
        self.most = 0
        self.poison = None

    @property
    def busy(self):
        return bool(self.walks)

    def start(self, walks):
        self.walks |= dict(walks)
        self.started += [walk for walk, _ in walks]
        self.most = max(self.most, len(self.walks))

    def stop(self, walk):
        self.walks.pop(walk, None)

    def clear(self):
        self.walks.clear()

    def advance(self):
        self.go.acquire()
        if self.poison in self.walks:
            raise ArithmeticError("poison")
        news = []
        for walk, until in list(self.walks.items()):
            walk.add(Hypothesis(walk.steps + 1, (walk.steps,), "", 0.0))
            news.append((walk, walk.last, walk.reaches(until)))
            if walk.reaches(until):
                del self.walks[walk]
        return news


@pytest.fixture
async def slow():
    engine = SlowEngine()
    scheduler = Scheduler(engine, queue_limit=2)
    yield engine, scheduler
    engine.go.release(1000)
    await scheduler.close()


async def settle():
    await asyncio.sleep(0.02)


async def two_running_and_two_waiting(scheduler):
    tasks = []
    for _ in range(2):
        tasks += [asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0)) for _ in range(2)]
        await settle()
    return tasks


async def test_a_full_queue_refuses_and_says_when_to_come_back(slow):
    engine, scheduler = slow
    tasks = await two_running_and_two_waiting(scheduler)
    with pytest.raises(QueueFull, match="2 of 2 vectors wait") as refusal:
        await scheduler.run(Walk(torch.zeros(1)), 0)
    assert refusal.value.retry_delay_ms >= 1
    engine.go.release(100)
    await asyncio.gather(*tasks)
    assert engine.most == 2


async def test_a_walk_that_could_not_be_done_in_time_is_refused_at_once(slow):
    engine, scheduler = slow
    first = [asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0)) for _ in range(2)]
    await asyncio.sleep(0.3)
    engine.go.release(1)
    await asyncio.gather(*first)
    running = [asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0)) for _ in range(2)]
    await settle()
    waiting = asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0, deadline=Deadline.after(60)))
    await settle()
    walk = Walk(torch.zeros(1))
    with pytest.raises(QueueFull, match="1 vectors wait, one more would take about") as refusal:
        await scheduler.run(walk, 0, deadline=Deadline.after(0.03))
    assert refusal.value.retry_delay_ms > 30
    engine.go.release(100)
    await asyncio.gather(*running, waiting)
    assert walk not in engine.started


async def test_a_hurried_walk_is_taken_where_nobody_waits(slow):
    engine, scheduler = slow
    first = asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0))
    await asyncio.sleep(0.3)
    engine.go.release(100)
    await first
    hurried = Walk(torch.zeros(1))
    await scheduler.run(hurried, 0, deadline=Deadline.after(0.03))
    assert hurried.steps == 0


async def test_walks_that_a_cache_lets_begin_later_are_bounded_too(slow):
    engine, scheduler = slow
    begun = [Walk(torch.zeros(1), [Hypothesis(0, (n,), "", 0.0)]) for n in range(30)]
    tasks = [asyncio.create_task(scheduler.run(walk, 1)) for walk in begun]
    await settle()
    engine.go.release(1000)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(outcome, QueueFull) for outcome in outcomes)
    assert sum(walk.steps == 1 for walk in begun) >= 2


async def test_one_long_walk_does_not_hold_up_short_ones(slow):
    engine, scheduler = slow
    long = asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 50))
    await settle()
    shorts = [asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0)) for _ in range(2)]
    await settle()
    # A turn each, and one that the long walk had begun by itself.
    engine.go.release(3)
    async with asyncio.timeout(10):
        await asyncio.gather(*shorts)
    assert not long.done()
    engine.go.release(1000)
    await long


async def test_a_walk_begun_earlier_is_not_refused_and_goes_first(slow):
    engine, scheduler = slow
    tasks = await two_running_and_two_waiting(scheduler)
    begun = Walk(torch.zeros(1), [Hypothesis(0, (99,), "", 0.0)])
    tasks.append(asyncio.create_task(scheduler.run(begun, 1)))
    await settle()
    engine.go.release(100)
    await asyncio.gather(*tasks)
    assert engine.started.index(begun) == 2


async def test_a_cancelled_request_leaves_at_the_next_pass(slow):
    engine, scheduler = slow
    leaver, stayer = Walk(torch.zeros(1)), Walk(torch.zeros(1))
    leaving = asyncio.create_task(scheduler.run(leaver, 50))
    staying = asyncio.create_task(scheduler.run(stayer, 3))
    await settle()
    leaving.cancel()
    engine.go.release(100)
    await staying
    await settle()
    assert leaver.steps < 3
    assert not engine.busy


async def test_a_request_cancelled_while_it_waits_never_starts(slow):
    engine, scheduler = slow
    running = [asyncio.create_task(scheduler.run(Walk(torch.zeros(1)), 0)) for _ in range(2)]
    await settle()
    walk = Walk(torch.zeros(1))
    waiting = asyncio.create_task(scheduler.run(walk, 0))
    await settle()
    waiting.cancel()
    engine.go.release(100)
    await asyncio.gather(*running)
    await settle()
    assert walk not in engine.started


async def test_only_the_walk_that_cannot_be_computed_fails(slow):
    engine, scheduler = slow
    walks = [Walk(torch.zeros(1)) for _ in range(2)]
    engine.poison = walks[0]
    tasks = [asyncio.create_task(scheduler.run(walk, 3)) for walk in walks]
    engine.go.release(100)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], ArithmeticError)
    assert walks[1].steps == 3
    third = Walk(torch.zeros(1))
    await scheduler.run(third, 2)
    assert third.steps == 2


async def test_closing_finishes_what_was_taken_on_and_refuses_more(slow):
    engine, scheduler = slow
    walk = Walk(torch.zeros(1))
    running = asyncio.create_task(scheduler.run(walk, 2))
    await settle()
    closing = asyncio.create_task(scheduler.close())
    await settle()
    with pytest.raises(StageUnavailable):
        await scheduler.run(Walk(torch.zeros(1)), 0)
    engine.go.release(100)
    await asyncio.gather(running, closing)
    assert walk.steps == 2


async def test_the_engine_runs_off_the_event_loop(engine, vectors):
    seen = set()

    class Watched(Engine):
        def advance(self):
            seen.add(threading.current_thread())
            return super().advance()

    watched = Watched(engine._backend, engine._embedder, 4)
    scheduler = Scheduler(watched, queue_limit=10)
    await scheduler.run(Walk(vectors[0]), 0)
    await scheduler.close()
    assert len(seen) == 1
    assert threading.main_thread() not in seen
