"""When a stage call is made again, and how often."""

import pytest

from gateway.retries import FULL, UNAVAILABLE, RetryBudget, pause_before_retry, reason_to_retry
from nextvec import errors


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.StageUnavailable("gone"), UNAVAILABLE),
        (errors.Cancelled("gone"), UNAVAILABLE),
        (errors.QueueFull("full", 10), FULL),
        (errors.InvalidInput("wrong"), None),
        (errors.WrongSpace("wrong"), None),
        (errors.NotFound("wrong"), None),
        (errors.DeadlineExceeded("late"), None),
        (errors.InternalError("a bug", error_id="1"), None),
        (errors.InternalError("a lost connection, as gRPC has it at times"), UNAVAILABLE),
    ],
)
def test_only_what_another_replica_may_do_better_is_tried_again(error, reason):
    assert reason_to_retry(error) == reason


def test_retries_are_a_share_of_calls_in_the_long_run():
    budget = RetryBudget(ratio=0.2, burst=10)
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 200 <= spent <= 210


def test_a_burst_is_allowed_and_no_more():
    budget = RetryBudget(ratio=0.2, burst=10)
    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2


def test_another_replica_is_asked_at_once_and_the_same_one_later():
    gone, full = errors.StageUnavailable("gone"), errors.QueueFull("full", 170)
    assert pause_before_retry(gone, 1, another=True) == pause_before_retry(full, 1, another=True) == 0
    assert pause_before_retry(full, 1, another=False) == pytest.approx(0.17)
    assert 0 < pause_before_retry(gone, 1, another=False) < pause_before_retry(gone, 2, another=False)
