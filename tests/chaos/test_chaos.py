"""The short form: every scenario on one real system. `make chaos` is the long one, with bars of speed."""

import pytest
import pytest_asyncio

from tests.chaos.bars import BARS, OF_SPEED, without_speed
from tests.chaos.scenarios import BROKEN, HURRIED, SMALL_CACHE
from tests.chaos.stand import standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory):
    """A system that every scenario leaves whole."""
    folder = tmp_path_factory.mktemp("chaos")
    async with standing(folder, short=True, environment=SMALL_CACHE) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scenario", [*BROKEN, *HURRIED], ids=lambda scenario: scenario.__name__)
async def test_a_broken_part_costs_no_request_and_no_wrong_answer(stand, scenario, record_property):
    results = await scenario(stand)
    for result in results:
        record_property(result.name, result.value)
    missed = [result.as_dict() for result in without_speed(results) if result.passed is False]
    assert results
    assert not missed
    assert stand.deployment.complete


def test_bars_of_speed_are_bars():
    assert BARS.keys() >= OF_SPEED
