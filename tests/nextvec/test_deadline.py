import pytest

from nextvec.deadline import Deadline
from nextvec.errors import DeadlineExceeded


def test_a_part_of_a_deadline_never_ends_after_it():
    deadline = Deadline.after(10)
    assert deadline.within(60) == deadline
    assert deadline.within(1).at < deadline.at


def test_an_expired_deadline_has_no_time_left_and_says_for_what():
    deadline = Deadline.after(-1)
    assert deadline.expired
    assert deadline.remaining == 0
    with pytest.raises(DeadlineExceeded, match="before decoding"):
        deadline.require("decoding")


def test_a_deadline_ahead_has_its_time_left():
    deadline = Deadline.after(10)
    deadline.require("anything")
    assert 9 < deadline.remaining <= 10
