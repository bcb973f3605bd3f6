"""Rungs, checks, the cache between them, and quotations, with texts that the test chooses."""

import asyncio

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from nextvec.cache import Cache, CacheMetrics
from nextvec.deadline import Deadline
from nextvec.errors import Cancelled, DeadlineExceeded, QueueFull
from services.decoder.cache import Keys, StandingCodec
from services.decoder.generation import Passes
from services.decoder.ladder import Ladder, Order
from services.decoder.metrics import DecoderMetrics
from services.decoder.quotations import Quotations
from services.decoder.scheduler import Spent
from services.decoder.walk import Hypothesis

BABBLE = "often often often often often often often often often often"
GOOD = "The ferry crosses the wide bay twice a day."
BETTER = "A ferry carries letters and salt to the islands."
SOURCE = "There is a ferry that carries salt. Bees dance in the meadow."
VECTOR = np.random.default_rng(2).normal(0, 1, 768).astype(np.float32)


class Script:
    """A scheduler that writes given texts, one for each step; the last one again after the last."""

    def __init__(self, texts, cosines=None):
        self.texts, self.cosines = texts, cosines or [0.1 * i for i in range(len(texts))]
        self.runs = []
        self.embedded = 0
        self.go = asyncio.Event()
        self.go.set()

    def embed(self, texts):
        self.embedded += 1
        return torch.tensor(np.stack([VECTOR if "Bees" in text else -VECTOR for text in texts]))

    async def run(self, walk, until, listen, deadline=None):
        self.runs.append((walk.steps, until))
        await self.go.wait()
        while not walk.reaches(until):
            step = walk.steps + 1
            index = min(step, len(self.texts) - 1)
            walk.add(Hypothesis(step, (0, index), self.texts[index], self.cosines[index]))
            listen(walk.last)
        return Spent(1.0, 2.0)


@pytest.fixture
async def ladder_of(family):
    """`ladder_of(script)`: a ladder with a cache of its own in the process."""
    registry = CollectorRegistry()
    cache = Cache(StandingCodec(), CacheMetrics(registry, "toy"), entries=100, ttl_s=60)
    metrics = DecoderMetrics(registry, Passes())

    def build(script):
        quotations = Quotations(family, script.embed)
        ladder = Ladder(Keys("toy-1", "abc"), script, cache, quotations, metrics)
        ladder.registry = registry
        return ladder

    return build


async def test_a_text_that_passes_ends_the_climb_at_its_rung(ladder_of):
    script = Script([BABBLE, GOOD, BETTER])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE))
    assert (decoded.text, decoded.rung, decoded.steps) == (GOOD, 1, 1)
    assert (decoded.cache_hit, decoded.extractive, decoded.fixed_point) == (False, False, False)
    assert script.runs == [(-1, 1)]
    assert [h.text for h in decoded.hypotheses] == [BABBLE, GOOD]


async def test_each_rung_goes_on_from_the_last_hypothesis(ladder_of):
    script = Script([BABBLE, BABBLE + " a", BABBLE + " b", GOOD, BETTER])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE))
    assert (decoded.text, decoded.rung, decoded.steps) == (GOOD, 3, 3)
    assert script.runs == [(-1, 1), (1, 3)]
    assert [report.passed for report in decoded.rungs] == [False, True]


async def test_a_rung_offers_the_best_text_so_far_and_not_the_last(ladder_of):
    script = Script([GOOD, BETTER, BABBLE], [0.9, 0.8, 0.7])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE))
    assert (decoded.text, decoded.steps, decoded.rung, decoded.cosine) == (GOOD, 0, 1, 0.9)


async def test_when_no_rung_passes_the_nearest_candidate_is_quoted(ladder_of):
    script = Script([f"{BABBLE} {i}" for i in range(6)])
    vectors = np.stack([-VECTOR, VECTOR + 1, np.ones(768, np.float32)])
    order = Order(VECTOR, SOURCE, ("Far.", "Near.", "Middling."), vectors)
    decoded = await ladder_of(script).climb(order)
    assert (decoded.text, decoded.extractive, decoded.rung, decoded.steps) == ("Near.", True, 5, 0)
    assert decoded.cosine == pytest.approx(
        float(VECTOR @ (VECTOR + 1) / np.linalg.norm(VECTOR) / np.linalg.norm(VECTOR + 1)), abs=1e-5
    )
    assert [report.rung for report in decoded.rungs] == [1, 3, 5]
    assert not any(report.passed for report in decoded.rungs)
    assert script.runs == [(-1, 1), (1, 3), (3, 5)]


async def test_candidates_without_vectors_are_embedded(ladder_of):
    script = Script([f"{BABBLE} {i}" for i in range(6)])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE, ("Salt.", "Bees hum.", "Sand.")))
    assert (decoded.text, decoded.cosine) == ("Bees hum.", pytest.approx(1))


async def test_without_candidates_a_sentence_of_the_source_is_quoted(ladder_of):
    script = Script([f"{BABBLE} {i}" for i in range(6)])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE))
    assert decoded.extractive
    assert decoded.text in SOURCE
    assert "Bees" in decoded.text


async def test_with_nothing_to_quote_the_best_text_is_given_and_its_failure_reported(ladder_of):
    ladder = ladder_of(Script([f"{BABBLE} {i}" for i in range(6)]))
    decoded = await ladder.climb(Order(VECTOR))
    assert decoded.text == f"{BABBLE} 5"
    assert not decoded.extractive
    assert not decoded.rungs[-1].passed
    assert ladder.registry.get_sample_value("nextvec_decoder_unpassed_total") == 1


async def test_a_fixed_point_ends_the_climb(ladder_of):
    script = Script([BABBLE + " a", BABBLE])
    decoded = await ladder_of(script).climb(Order(VECTOR, SOURCE))
    assert decoded.fixed_point
    assert decoded.extractive
    assert [report.rung for report in decoded.rungs] == [1, 3]
    assert script.runs == [(-1, 1), (1, 3)]


async def test_the_second_request_is_a_hit_and_computes_nothing(ladder_of):
    script = Script([BABBLE, GOOD])
    ladder = ladder_of(script)
    first, second = [await ladder.climb(Order(VECTOR, SOURCE)) for _ in range(2)]
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert (second.text, second.steps, second.rung, second.cosine) == (first.text, 1, 1, first.cosine)
    assert second.hypotheses == ()
    assert len(script.runs) == 1
    assert second.queue_ms == 0


async def test_a_cached_text_is_checked_against_every_source_anew(ladder_of):
    script = Script([BABBLE, GOOD, BABBLE + " b", "Photosynthesis feeds every green plant."])
    ladder = ladder_of(script)
    assert (await ladder.climb(Order(VECTOR, SOURCE))).text == GOOD
    other = await ladder.climb(Order(VECTOR, "Plants live on light by photosynthesis."))
    assert other.text.startswith("Photosynthesis")
    assert [(report.rung, report.passed) for report in other.rungs] == [(1, False), (3, True)]
    assert not other.cache_hit, "rung 3 had to be computed"
    assert script.runs == [(-1, 1), (1, 3)], "from where the cached rung stood"
    again = await ladder.climb(Order(VECTOR, "Plants live on light by photosynthesis."))
    assert (again.cache_hit, again.rung) == (True, 3)


async def test_a_cold_request_counts_one_miss_and_no_rung_that_it_did_not_ask_for(ladder_of):
    ladder = ladder_of(Script([BABBLE, GOOD]))
    await ladder.climb(Order(VECTOR, SOURCE))
    assert ladder.registry.get_sample_value("nextvec_toy_cache_misses_total") == 1
    await ladder.climb(Order(VECTOR, SOURCE))
    assert ladder.registry.get_sample_value("nextvec_toy_cache_misses_total") == 1
    assert ladder.registry.get_sample_value("nextvec_toy_cache_hits_total", {"tier": "process"}) == 1


async def test_failed_texts_fail_again_from_the_cache(ladder_of):
    script = Script([f"{BABBLE} {i}" for i in range(6)])
    ladder = ladder_of(script)
    first, second = [await ladder.climb(Order(VECTOR, SOURCE)) for _ in range(2)]
    assert first.extractive
    assert second.extractive
    assert second.cache_hit
    assert len(script.runs) == 3
    assert script.embedded == 1, "what is quoted is remembered too"


async def test_bypassing_the_cache_neither_reads_nor_writes(ladder_of):
    script = Script([BABBLE, GOOD])
    ladder = ladder_of(script)
    for _ in range(2):
        assert not (await ladder.climb(Order(VECTOR, SOURCE, bypass_cache=True))).cache_hit
    assert not (await ladder.climb(Order(VECTOR, SOURCE))).cache_hit
    assert len(script.runs) == 3


async def test_skipping_checks_takes_the_first_rung_as_it_is(ladder_of):
    decoded = await ladder_of(Script([BABBLE, BABBLE + " a"])).climb(Order(VECTOR, SOURCE, skip_checks=True))
    assert decoded.text == BABBLE + " a"
    assert decoded.rungs[0].checks == ()
    assert not decoded.extractive


async def test_equal_requests_at_once_are_computed_once_and_all_hear_the_hypotheses(ladder_of):
    script = Script([BABBLE, BABBLE + " a", BABBLE + " b", GOOD])
    ladder = ladder_of(script)
    script.go.clear()
    heard = [[] for _ in range(5)]
    climbs = [asyncio.create_task(ladder.climb(Order(VECTOR, SOURCE), one.append)) for one in heard]
    await asyncio.sleep(0.01)
    script.go.set()
    decoded = await asyncio.gather(*climbs)
    assert {d.text for d in decoded} == {GOOD}
    assert script.runs == [(-1, 1), (1, 3)]
    assert all([h.step for h in one] == [0, 1, 2, 3] for one in heard)
    assert ladder.registry.get_sample_value("nextvec_decoder_shared_total") == 8


async def test_one_of_equal_requests_may_leave(ladder_of):
    script = Script([BABBLE, GOOD])
    ladder = ladder_of(script)
    script.go.clear()
    first, second = (asyncio.create_task(ladder.climb(Order(VECTOR, SOURCE))) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    script.go.set()
    assert (await second).text == GOOD


class Hurried(Script):
    """Refuses whoever has less than a second, after the first hypothesis and when all have joined."""

    def __init__(self, texts, failure):
        super().__init__(texts)
        self.failure = failure

    async def run(self, walk, until, listen, deadline=None):
        if deadline.remaining > 1:
            return await super().run(walk, until, listen, deadline)
        self.runs.append("refused")
        listen(Hypothesis(0, (0, 0), self.texts[0], 0.0))
        await self.go.wait()
        raise self.failure


@pytest.mark.parametrize("failure", [QueueFull("full", 10), DeadlineExceeded("late"), Cancelled("gone")])
async def test_whoever_has_time_is_not_failed_by_the_deadlines_of_those_who_have_none(ladder_of, failure):
    script = Hurried([BABBLE, GOOD], failure)
    ladder = ladder_of(script)
    script.go.clear()
    climbs = [
        asyncio.create_task(ladder.climb(Order(VECTOR, SOURCE), deadline=Deadline.after(seconds)))
        for seconds in (0.9, 0.9, 60, 60)
    ]
    await asyncio.sleep(0.01)
    script.go.set()
    *refused, third, fourth = await asyncio.gather(*climbs, return_exceptions=True)
    assert [third.text, fourth.text] == [GOOD, GOOD]
    assert [h.step for h in third.hypotheses] == [0, 1], "none is heard twice"
    assert refused[0] is failure
    assert script.runs.count((-1, 1)) == 1


async def test_a_follower_without_time_left_is_refused_with_its_leader(ladder_of):
    script = Hurried([BABBLE, GOOD], QueueFull("full", 10))
    ladder = ladder_of(script)
    script.go.clear()
    climbs = [
        asyncio.create_task(ladder.climb(Order(VECTOR, SOURCE), deadline=Deadline.after(seconds)))
        for seconds in (0.9, 0)
    ]
    await asyncio.sleep(0.01)
    script.go.set()
    assert await asyncio.gather(*climbs, return_exceptions=True) == [script.failure] * 2
    assert script.runs == ["refused"]


async def test_a_failure_is_not_cached(ladder_of):
    script = Script([BABBLE, GOOD])
    ladder = ladder_of(script)
    working, script.run = script.run, None
    with pytest.raises(TypeError):
        await ladder.climb(Order(VECTOR, SOURCE))
    script.run = working
    assert (await ladder.climb(Order(VECTOR, SOURCE))).text == GOOD


async def test_of_two_decoders_with_one_redis_one_computes(family, redis_process):
    scripts, ladders, caches = [Script([BABBLE, GOOD]), Script([BABBLE, GOOD])], [], []
    for script in scripts:
        registry = CollectorRegistry()
        metrics = CacheMetrics(registry, "toy")
        caches.append(Cache(StandingCodec(), metrics, entries=9, ttl_s=60, redis_url=redis_process.url))
        await caches[-1].connect()
        decoder = DecoderMetrics(registry, Passes())
        ladders.append(
            Ladder(Keys("toy-1", "abc"), script, caches[-1], Quotations(family, script.embed), decoder)
        )
        script.go.clear()
    climbs = [asyncio.create_task(ladder.climb(Order(VECTOR, SOURCE))) for ladder in ladders]
    await asyncio.sleep(0.2)
    for script in scripts:
        script.go.set()
    decoded = await asyncio.gather(*climbs)
    assert [d.text for d in decoded] == [GOOD, GOOD]
    assert sum(len(script.runs) for script in scripts) == 1
    assert sorted(d.cache_hit for d in decoded) == [False, True]
    for cache in caches:
        await cache.close()
