"""When waiting for company pays; the times are made up."""

import pytest

from nextvec.arrivals import Arrivals

BOUND = 0.002


def after(*gaps, arrivals=None, alone=False):
    """Arrivals after items with these gaps in seconds, and the time of the last."""
    arrivals, now = arrivals or Arrivals(BOUND), 100.0
    arrivals.note(now, alone=alone)
    for gap in gaps:
        now += gap
        arrivals.note(now, alone=alone)
    return arrivals, now


def test_nothing_is_known_to_come_before_anything_came():
    arrivals, now = after()
    assert arrivals.worth_waiting_until == now


def test_items_close_together_tell_of_more_to_come_soon():
    arrivals, now = after(*[0.0001] * 40)
    assert now + 0.0001 < arrivals.worth_waiting_until < now + 0.0004


def test_items_too_far_apart_are_not_waited_for():
    arrivals, now = after(*[0.0015] * 40)
    assert arrivals.worth_waiting_until == now


def test_a_client_that_asks_again_at_once_is_no_company_to_itself():
    arrivals, now = after(*[0.0001] * 40, alone=True)
    assert arrivals.worth_waiting_until == now


def test_one_pause_does_not_hide_that_items_come_in_bursts():
    arrivals, now = after(*[0.0001] * 40, 5.0, 0.0001)
    assert arrivals.worth_waiting_until > now


@pytest.mark.parametrize("gap", [0.0, 0.0001, 0.0009, 5.0])
def test_the_bound_is_never_passed(gap):
    arrivals, now = after(*[gap] * 40)
    assert now <= arrivals.worth_waiting_until <= now + BOUND


def test_no_waiting_is_a_bound_too():
    arrivals = Arrivals(0.0)
    arrivals.note(1.0, alone=False)
    arrivals.note(1.0, alone=False)
    assert arrivals.worth_waiting_until == 1.0
