"""The engine without a server: neighbours, exclusions, batches."""

import numpy as np
import pytest

from nextvec.errors import FailedPrecondition
from nextvec.vectors import cosine, unit
from services.snap.engine import ProjectItem, SearchItem, SnapEngine
from services.snap.projection import barycentre


@pytest.fixture
def engine(bank):
    return SnapEngine(bank)


@pytest.fixture
def item(bank):
    """A projection in the middle of document 2, whose first five chunks are the context."""
    context = bank.raw(range(20, 25))
    return ProjectItem(vector=unit(context.mean(0)), query=context[-1], context=context)


def ids(neighbours):
    return [neighbour.entry.id for neighbour in neighbours]


def test_a_projection_is_the_rule_applied_to_the_nearest_entries(engine, bank, item):
    answer = engine.project(item)
    cosines = unit(bank.raw(range(60))) @ item.vector
    best = np.argsort(-cosines)[:16]
    assert ids(answer.neighbours) == list(best)
    np.testing.assert_allclose([n.cosine for n in answer.neighbours], cosines[best], atol=1e-5)
    expected = barycentre(bank.raw(best), cosines[best], item.query, item.context)
    np.testing.assert_allclose(answer.projection.vector, expected.vector, rtol=1e-4, atol=1e-5)
    assert answer.cos_vector == pytest.approx(float(cosine(expected.vector, item.vector)), abs=1e-5)


def test_the_magnitude_is_that_of_the_neighbours(engine, bank, item):
    answer = engine.project(item)
    norms = np.linalg.norm(bank.raw(ids(answer.neighbours)), axis=1)
    assert np.linalg.norm(answer.projection.vector) == pytest.approx(
        answer.projection.shares @ norms, rel=1e-4
    )


def test_the_medoid_is_an_entry_of_the_bank(engine, bank, item):
    answer = engine.project(ProjectItem(item.vector, item.query, item.context, policy="medoid"))
    np.testing.assert_array_equal(answer.projection.vector, bank.raw([ids(answer.neighbours)[0]])[0])


def test_excluded_ids_are_not_used_and_others_take_their_place(engine, item):
    excluded = frozenset(range(20, 25))
    plain = engine.project(item)
    answer = engine.project(ProjectItem(item.vector, item.query, item.context, exclude_ids=excluded))
    assert excluded & set(ids(plain.neighbours))
    assert not excluded & set(ids(answer.neighbours))
    assert len(answer.neighbours) == 16


def test_near_duplicates_of_the_context_are_not_used(engine, item):
    answer = engine.project(ProjectItem(item.vector, item.query, item.context, exclude_cosine=0.98))
    assert not set(range(20, 25)) & set(ids(answer.neighbours))
    assert len(answer.neighbours) == 16


def test_exclusions_that_hit_every_near_entry_are_looked_past(engine, item):
    answer = engine.project(ProjectItem(item.vector, item.query, item.context, k=3, exclude_cosine=0.3))
    assert len(answer.neighbours) == 3
    assert not {n.entry.document_id for n in answer.neighbours} & {"document 2"}


def test_exclusions_that_leave_nothing_are_refused(engine, item):
    everything = frozenset(range(60))
    with pytest.raises(FailedPrecondition, match="none of the 60 entries"):
        engine.project(ProjectItem(item.vector, item.query, item.context, exclude_ids=everything))


def test_a_search_gives_neighbours_with_vectors_and_what_precedes_the_best(engine, bank):
    found = engine.search(SearchItem(bank.raw([27])[0], k=4, preceding=5))
    assert ids(found.neighbours)[0] == 27
    assert len(found.neighbours) == 4
    np.testing.assert_array_equal(found.vectors, bank.raw(ids(found.neighbours)))
    assert ids(found.preceding) == [22, 23, 24, 25, 26]
    np.testing.assert_array_equal(found.preceding_vectors, bank.raw([22, 23, 24, 25, 26]))


def test_a_search_can_leave_out_the_query_itself(engine, bank):
    found = engine.search(SearchItem(bank.raw([27])[0], exclude_cosine=0.98))
    assert 27 not in ids(found.neighbours)


def test_a_search_that_excludes_everything_finds_nothing(engine, bank):
    found = engine.search(SearchItem(bank.raw([27])[0], preceding=5, exclude_ids=frozenset(range(60))))
    assert found.neighbours == found.preceding == []


def test_items_together_get_what_they_get_alone(engine, bank, item, random):
    items = [
        item,
        SearchItem(random.standard_normal(768).astype(np.float32), k=2, preceding=3),
        ProjectItem(-item.vector, item.query, item.context, "medoid", 5, frozenset({3, 4}), 0.5),
        SearchItem(bank.raw([5])[0], k=40),
    ]
    for alone, together in zip([engine.run([i])[0] for i in items], engine.run(items), strict=True):
        assert ids(alone.neighbours) == ids(together.neighbours)
        if hasattr(alone, "projection"):
            np.testing.assert_allclose(alone.projection.vector, together.projection.vector, atol=1e-5)
        else:
            assert ids(alone.preceding) == ids(together.preceding)


def test_an_item_that_fails_leaves_the_others_of_its_batch_alone(engine, item):
    bad = ProjectItem(item.vector, item.query, item.context, exclude_ids=frozenset(range(60)))
    good, failed, also_good = engine.run([item, bad, item])
    assert isinstance(failed, FailedPrecondition)
    assert ids(good.neighbours) == ids(also_good.neighbours)
