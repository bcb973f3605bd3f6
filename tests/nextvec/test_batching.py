import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry

from nextvec.batching import BatchQueue
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, InvalidInput, QueueFull, StageUnavailable
from nextvec.metrics import Metrics


class Model:
    """Doubles numbers; records its batches; waits for `gate` where one is closed."""

    def __init__(self):
        self.batches = []
        self.started = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items):
        self.batches.append(list(items))
        self.started.set()
        self.gate.wait(5)
        if "bad" in items:
            raise InvalidInput("bad item")
        return [ValueError("half") if item == "half" else item * 2 for item in items]

    async def busy(self):
        await asyncio.to_thread(self.started.wait, 5)


@pytest.fixture
def model():
    return Model()


def queue(model, **changes):
    return BatchQueue(model, **{"max_batch": 4, "max_wait_ms": 5, "queue_limit": 8, **changes})


async def test_batched_equals_one_by_one(model):
    q = queue(model)
    together = await asyncio.gather(*(q.submit(n) for n in range(8)))
    assert [timed.value for timed in together] == [(await q.submit(n)).value for n in range(8)]
    assert model.batches[:2] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    await q.close()


async def test_a_batch_is_bounded_by_units_of_work_and_a_larger_item_runs_alone(model):
    q = queue(model, queue_limit=100)
    sizes = [2, 2, 2, 9, 1]
    await asyncio.gather(*(q.submit(n, size=size) for n, size in enumerate(sizes)))
    assert model.batches == [[0, 1], [2], [3], [4]]


HOUR_MS = 3_600_000
"""As the bound on waiting: a test that waits for it hangs."""


async def test_a_lone_item_does_not_wait_for_company(model):
    q = queue(model, max_wait_ms=HOUR_MS)
    async with asyncio.timeout(10):
        for n in range(5):
            await q.submit(n)
    assert model.batches == [[0], [1], [2], [3], [4]]


async def test_what_arrives_while_a_batch_computes_makes_up_the_next(model):
    q = queue(model, max_wait_ms=0, max_batch=64, queue_limit=100)
    async with asyncio.timeout(10):
        model.gate.clear()
        first = asyncio.create_task(q.submit(0))
        await model.busy()
        rest = [asyncio.create_task(q.submit(n)) for n in range(1, 40)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *rest)
    assert model.batches == [[0], list(range(1, 40))]


async def one_after_another(q, count):
    """Submits items of one burst, each in a later turn of the loop."""
    tasks = []
    for n in range(count):
        tasks.append(asyncio.create_task(q.submit(n)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def test_a_burst_is_waited_for_once_bursts_are_known_to_come(model):
    # A second is long beside the turns of a loop, and short enough to wait for once.
    q = queue(model, max_wait_ms=1000, max_batch=64, queue_limit=100)
    model.gate.clear()
    learning = asyncio.create_task(one_after_another(q, 60))
    await asyncio.sleep(0.1)
    model.gate.set()
    await learning
    model.batches.clear()
    await one_after_another(q, 20)
    assert [len(batch) for batch in model.batches] == [20]
    # Whoever then is alone is waited for less and less, and soon not at all.
    for n in range(30):
        await q.submit(n)
    async with asyncio.timeout(0.9):
        await q.submit(30)


async def test_an_item_that_would_wait_past_its_deadline_is_refused_at_once(model):
    q = queue(model, max_wait_ms=0, max_batch=1, queue_limit=100)
    model.gate.clear()
    slow = asyncio.create_task(q.submit(0))
    await model.busy()
    await asyncio.sleep(0.2)
    model.gate.set()
    await slow
    model.started.clear()
    model.gate.clear()
    running = asyncio.create_task(q.submit(1))
    await model.busy()
    waiting = [asyncio.create_task(q.submit(n)) for n in range(2, 10)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match=r"8 units wait, for about \d+ ms, and the deadline is in") as caught:
        await q.submit(10, deadline=Deadline.after(0.1))
    assert caught.value.retry_delay_ms > 100
    patient = asyncio.create_task(q.submit(11, deadline=Deadline.after(60)))
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(running, patient, *waiting)
    assert [10] not in model.batches


async def test_items_of_different_keys_are_never_in_one_batch(model):
    q = queue(model, key=lambda item: item % 2)
    await asyncio.gather(*(q.submit(n) for n in range(8)))
    assert sorted(model.batches) == [[0, 2, 4, 6], [1, 3, 5, 7]]


async def test_a_full_queue_refuses_with_a_delay_from_measured_times(model):
    q = queue(model, queue_limit=3, max_wait_ms=0)
    await q.submit(0)
    model.started.clear()
    model.gate.clear()
    running = asyncio.create_task(q.submit(1))
    await model.busy()
    waiting = [asyncio.create_task(q.submit(n)) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="3 of 3 units wait; try again in") as caught:
        await q.submit(4)
    assert caught.value.retry_delay_ms >= 1
    model.gate.set()
    await asyncio.gather(running, *waiting)
    assert q.waiting == 0


async def test_a_cancelled_caller_is_dropped_before_compute(model):
    q = queue(model, max_wait_ms=0)
    model.gate.clear()
    running = asyncio.create_task(q.submit(1))
    await model.busy()
    gone, stays = asyncio.create_task(q.submit(2)), asyncio.create_task(q.submit(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert q.waiting == 1
    model.gate.set()
    await asyncio.gather(running, stays)
    assert model.batches == [[1], [3]]


async def test_an_expired_caller_is_told_at_once_and_dropped_before_compute(model):
    q = queue(model, max_wait_ms=0)
    model.gate.clear()
    running = asyncio.create_task(q.submit(1))
    await model.busy()
    with pytest.raises(DeadlineExceeded):
        await q.submit(2, deadline=Deadline.after(0.01))
    with pytest.raises(DeadlineExceeded):
        await q.submit(2, deadline=Deadline.after(-1))
    model.gate.set()
    await running
    await q.submit(3)
    assert model.batches == [[1], [3]]


async def test_a_failing_item_does_not_fail_its_batch_mates(model):
    q = queue(model)
    results = await asyncio.gather(
        *(q.submit(item) for item in (1, "bad", "half", 2)), return_exceptions=True
    )
    assert [results[0].value, results[3].value] == [2, 4]
    assert isinstance(results[1], InvalidInput)
    assert isinstance(results[2], ValueError)


async def test_a_model_that_loses_results_is_an_error_and_not_a_hang():
    q = queue(lambda items: [])
    with pytest.raises(RuntimeError, match="returned 0 results for 1 items"):
        await q.submit(1)


async def test_the_event_loop_runs_while_the_model_computes(model):
    q = queue(model, max_wait_ms=0)
    model.gate.clear()
    running = asyncio.create_task(q.submit(1))
    await model.busy()
    model.gate.set()
    timed = await running
    assert timed.compute_ms > 0
    assert timed.queue_ms >= 0


async def test_closing_finishes_what_waits_and_refuses_more(model):
    q = queue(model, max_wait_ms=10_000)
    waiting = [asyncio.create_task(q.submit(n)) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.wait_for(q.close(), 2)
    assert [timed.value for timed in await asyncio.gather(*waiting)] == [0, 2, 4]
    with pytest.raises(StageUnavailable):
        await q.submit(1)


async def test_closing_a_queue_that_never_ran_returns(model):
    await queue(model).close()


async def test_metrics_count_work_and_refusals(model):
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    q = queue(model, queue_limit=1, metrics=metrics.queue("toy"))
    first = asyncio.create_task(q.submit(1))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await q.submit(2)
    await first
    labels = {"queue": "toy"}
    assert registry.get_sample_value("nextvec_queue_refused_total", labels) == 1
    assert registry.get_sample_value("nextvec_batch_units_count", labels) == 1
    assert registry.get_sample_value("nextvec_queue_waiting_units", labels) == 0
    metrics.queue("another")
