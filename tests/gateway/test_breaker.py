"""A breaker by itself, at made-up times, and in a gateway whose decoder has too much to do."""

import asyncio
from contextlib import nullcontext, suppress

import pytest
from prometheus_client import CollectorRegistry

from gateway.breaker import MIN_CALLS, PROBES, Breaker, BreakerOpen, State
from gateway.metrics import GatewayMetrics
from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded, InvalidInput, QueueFull, StageUnavailable

FAIR, HURRIED = 1.0, 0.1
FAILURES = [QueueFull("full", 10), DeadlineExceeded("late"), StageUnavailable("lost")]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def breaker(clock, registry):
    return Breaker(
        "decoder",
        GatewayMetrics(registry),
        share=0.5,
        window_seconds=10,
        open_seconds=2,
        fair_seconds=0.5,
        clock=clock,
    )


def call(breaker, error=None, seconds=FAIR):
    """One call that ends with `error`; raises BreakerOpen where it is not made."""
    with nullcontext() if error is None else suppress(type(error)), breaker.guard(Deadline.after(seconds)):
        if error:
            raise error


def fail(breaker, count=MIN_CALLS, error=FAILURES[0], **options):
    for _ in range(count):
        call(breaker, error, **options)


@pytest.mark.parametrize("error", FAILURES)
def test_calls_that_keep_failing_open_it_and_further_ones_are_not_made(breaker, error):
    fail(breaker, error=error)
    assert breaker.state is State.OPEN
    with pytest.raises(BreakerOpen, match=r"50% or more of its calls were refused.*again in 2\.0 s"):
        call(breaker)


def test_a_share_below_the_limit_leaves_it_closed(breaker):
    for number in range(10 * MIN_CALLS):
        call(breaker, FAILURES[0] if number % 5 in (1, 3) else None)
    assert breaker.state is State.CLOSED


def test_a_few_failures_are_not_enough_to_judge(breaker):
    fail(breaker, MIN_CALLS - 1)
    assert breaker.state is State.CLOSED


def test_failures_older_than_the_window_are_forgotten(breaker, clock):
    for _ in range(10):
        fail(breaker, MIN_CALLS // 2)
        clock.now += 12
    assert breaker.state is State.CLOSED


def test_calls_under_way_count_as_calls(breaker):
    """A burst of which some were let in and some refused is no lasting overload."""
    under_way = [breaker.guard(Deadline.after(FAIR)) for _ in range(MIN_CALLS)]
    for one in under_way:
        one.__enter__()
    fail(breaker, MIN_CALLS - 1)
    assert breaker.state is State.CLOSED
    for one in under_way:
        one.__exit__(None, None, None)


def begun(breaker, count):
    calls = [breaker.guard(Deadline.after(FAIR)) for _ in range(count)]
    for one in calls:
        one.__enter__()
    return calls


def end(calls, error=None):
    for one in calls:
        one.__exit__(type(error) if error else None, error, None)


def test_calls_that_fail_later_than_the_window_is_long_open_it(breaker, clock):
    calls = begun(breaker, MIN_CALLS)
    clock.now += 12
    end(calls, DeadlineExceeded("late"))
    assert breaker.state is State.OPEN


def test_few_failures_of_many_long_calls_leave_it_closed(breaker, clock):
    calls = begun(breaker, 3 * MIN_CALLS)
    clock.now += 12
    for _ in range(MIN_CALLS):
        call(breaker)
    end(calls[:15], DeadlineExceeded("late"))
    end(calls[15:])
    assert breaker.state is State.CLOSED


def test_calls_that_have_ended_are_not_under_way_any_more(breaker, clock):
    for error in (None, asyncio.CancelledError()):
        end(begun(breaker, 2 * MIN_CALLS), error)
    clock.now += 12
    fail(breaker)
    assert breaker.state is State.OPEN


def test_what_is_not_the_stages_load_does_not_count(breaker):
    fail(breaker, 3 * MIN_CALLS, InvalidInput("bad"))
    fail(breaker, 3 * MIN_CALLS, seconds=HURRIED)
    assert breaker.state is State.CLOSED


@pytest.fixture
def half_open(breaker, clock):
    fail(breaker)
    clock.now += 2
    return breaker


def test_after_a_pause_probes_that_succeed_close_it(half_open):
    for _ in range(PROBES):
        call(half_open)
    assert half_open.state is State.CLOSED
    fail(half_open, MIN_CALLS - 1)
    assert half_open.state is State.CLOSED, "what was before is held against it"


def test_only_so_many_probes_are_under_way_at_once(half_open):
    probes = [half_open.guard(Deadline.after(FAIR)) for _ in range(PROBES)]
    for probe in probes:
        probe.__enter__()
    with pytest.raises(BreakerOpen, match="it is tried again now"):
        call(half_open)
    for probe in probes:
        probe.__exit__(None, None, None)
    call(half_open)


def test_a_probe_that_fails_opens_it_for_as_long_again(half_open, clock):
    call(half_open)
    call(half_open, FAILURES[1])
    assert half_open.state is State.OPEN
    clock.now += 1.9
    with pytest.raises(BreakerOpen):
        call(half_open)
    clock.now += 0.1
    call(half_open)
    assert half_open.state is State.HALF_OPEN


def test_a_probe_whose_caller_goes_is_replaced(half_open):
    for _ in range(5 * PROBES):
        with pytest.raises(asyncio.CancelledError), half_open.guard(Deadline.after(FAIR)):
            raise asyncio.CancelledError
    for _ in range(PROBES):
        call(half_open)
    assert half_open.state is State.CLOSED


def test_calls_made_before_it_opened_decide_nothing_afterwards(breaker, clock):
    old = breaker.guard(Deadline.after(FAIR))
    old.__enter__()
    fail(breaker, MIN_CALLS - 1)
    clock.now += 2
    call(breaker)
    assert not old.__exit__(DeadlineExceeded, DeadlineExceeded("late"), None)
    assert breaker.state is State.HALF_OPEN


def test_state_and_transitions_are_metrics(half_open, registry):
    for _ in range(PROBES):
        call(half_open)
    for to in ("open", "half_open", "closed"):
        labels = {"stage": "decoder", "to": to}
        assert registry.get_sample_value("nextvec_gateway_breaker_transitions_total", labels) == 1
    assert registry.get_sample_value("nextvec_gateway_breaker_state", {"stage": "decoder"}) == 0


async def refused(request):
    raise QueueFull("the decoder queue is full", 170)


async def overload(system):
    system.decoder.before = refused
    for _ in range(MIN_CALLS):
        with pytest.raises(QueueFull):
            await system.complete()


async def test_under_overload_texts_are_quoted_at_once_and_marked(serving):
    async with serving(breaker_open_seconds=3600) as system:
        await overload(system)
        asked = len(system.decoder.requests)
        response = await system.complete(max_chunks=2)
        assert [chunk.extractive for chunk in response.chunks] == [True, True]
        assert response.chunks[0].text in ("Bank chunk zero.", "Bank chunk one.")
        assert [line[:8] for line in response.degraded] == ["chunk 0:", "chunk 1:"]
        assert "the decoder stage is left alone" in response.degraded[0]
        assert response.degraded[0].endswith("the nearest known text is quoted")
        assert len(system.decoder.requests) == asked
        assert system.sample("extractive_total", reason="breaker") == 2
        assert system.sample("breaker_state", stage="decoder") == 2


async def test_once_the_overload_is_over_texts_are_decoded_again(serving):
    async with serving(breaker_open_seconds=0.01) as system:
        await overload(system)
        system.decoder.before = None
        await asyncio.sleep(0.02)
        for _ in range(PROBES + 1):
            assert not (await system.complete()).degraded
        assert system.sample("breaker_state", stage="decoder") == 0


async def test_each_quotation_is_counted_by_its_reason(serving):
    async with serving(down=["decoder"]) as system:
        await system.complete()
        assert system.sample("extractive_total", reason="unavailable") == 1
