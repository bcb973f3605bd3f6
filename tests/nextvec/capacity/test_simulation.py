import numpy as np
import pytest

from nextvec.capacity.queueing import wait
from nextvec.capacity.simulation import fewest_in_flight


def waits(servers, rate, senders=1, count=30_000):
    random = np.random.default_rng(1)
    arrivals = np.cumsum(random.exponential(1 / rate, count))
    service = random.exponential(1.0, count)
    began = fewest_in_flight(arrivals, service, random.integers(senders, size=count), servers)
    return (began - arrivals)[count // 5 :]


def test_one_server_waits_as_theory_says():
    assert waits(1, 0.5).mean() == pytest.approx(wait(1, 0.5, 1, 1).mean, rel=0.15)
    assert (waits(1, 0.5) > 0).mean() == pytest.approx(0.5, abs=0.02)


def test_several_servers_take_a_little_longer_than_one_queue_for_all():
    found, ideal = waits(4, 3.2).mean(), wait(4, 3.2, 1, 1).mean
    apart = wait(1, 0.8, 1, 1).mean
    assert ideal < found < 1.6 * ideal < apart


def test_many_senders_that_know_little_of_each_other_wait_longer():
    assert waits(4, 3.2).mean() < waits(4, 3.2, senders=8).mean() < 1.2 * wait(1, 0.8, 1, 1).mean


def test_no_call_begins_before_it_arrives_and_a_replica_serves_one_at_a_time():
    arrivals = np.array([0.0, 0.0, 0.0, 5.0])
    began = fewest_in_flight(arrivals, np.ones(4), np.zeros(4, int), 2)
    assert sorted(began) == [0, 0, 1, 5]
