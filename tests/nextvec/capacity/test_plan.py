import numpy as np
import pytest

from nextvec.capacity.plan import Level, plan
from nextvec.capacity.service_times import PROCESSES, ServiceTimes
from nextvec.capacity.simulation import simulate
from nextvec.errors import InvalidInput

MEANS = {"gateway": 0.002, "encoder": 0.02, "lvm": 0.004, "snap": 0.003, "decoder": 0.3}


@pytest.fixture(scope="module")
def times():
    random = np.random.default_rng(0)
    miss = {process: random.gamma(4, mean / 4, 300) for process, mean in MEANS.items()}
    hit = {**miss, "encoder": miss["encoder"] / 50, "decoder": miss["decoder"] / 300}
    return ServiceTimes.of(hit, miss, {"how": "drawn"})


def test_the_plan_meets_the_level_in_simulation_and_less_does_not(times):
    found = plan(times, Level(20, 1.3, hit_rate=0.3, spare=0), requests=8_000)
    assert found.simulated <= 1.3
    load = 20 * 0.7 * 0.3
    fewer = {**found.replicas, "decoder": int(load)}
    assert fewer["decoder"] < found.replicas["decoder"]
    assert simulate(times, fewer, 20, 0.3, requests=8_000).quantile(0.95) > 1.3


def test_one_decoder_fewer_waits_clearly_longer(times):
    found = plan(times, Level(20, 1.3, hit_rate=0.3, spare=0), requests=8_000)
    fewer = {**found.replicas, "decoder": found.replicas["decoder"] - 1}
    waits = [simulate(times, r, 20, 0.3, requests=8_000).waits["decoder"] for r in (found.replicas, fewer)]
    assert waits[1].mean() > 1.5 * waits[0].mean()


def test_more_load_needs_more_and_more_hits_need_less(times):
    def total(rate, hit_rate):
        return sum(plan(times, Level(rate, 1.3, hit_rate), requests=8_000).replicas.values())

    assert total(5, 0.3) < total(20, 0.3) < total(100, 0.3)
    assert total(20, 0.9) < total(20, 0.3)


def test_spares_come_on_top_and_the_level_holds_with_and_without(times):
    found = plan(times, Level(20, 1.3, 0.3, spare=2), requests=8_000)
    assert all(count >= 3 for count in found.replicas.values())
    assert max(found.simulated, found.simulated_whole) <= 1.3


def test_the_budgets_add_up_to_the_level(times):
    assert sum(share.budget for share in plan(times, Level(5, 1.3), requests=8_000).shares) == pytest.approx(
        1.3
    )


@pytest.mark.parametrize("p95", [0.05, 0.4])
def test_a_level_below_the_service_times_is_refused_with_the_remedy(times, p95):
    with pytest.raises(InvalidInput, match=r"must be above 0\.\d+ s.*fewer rungs"):
        plan(times, Level(5, p95), requests=8_000)


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"p95": -1}, {"hit_rate": 1.5}, {"utilisation": 1}])
def test_wrong_levels_are_refused_by_name_and_limit(wrong):
    with pytest.raises(InvalidInput, match="must be from"):
        Level(**{"rate": 1, "p95": 1, **wrong})


def test_service_times_survive_their_file(times, tmp_path):
    times.write(tmp_path / "t.json")
    again = ServiceTimes.read(tmp_path / "t.json")
    for process in PROCESSES:
        assert again.miss[process] == pytest.approx(times.miss[process], abs=1e-6)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InvalidInput, match="--measure"):
        ServiceTimes.read(tmp_path / "t.json")
