"""The arithmetic of the snap against numbers worked out by hand."""

import numpy as np
import pytest

from nextvec.errors import NotFound
from nextvec.vectors import cosine, unit
from services.snap.projection import (
    CLAMPED,
    STANDARD,
    UNBLENDED,
    barycentre,
    context_mean,
    medoid,
    near_duplicates,
    policy_named,
)

# In three dimensions: x and y are the neighbours' plane, z the topic of the context.
X, Y, Z = np.eye(3, dtype=np.float32)


def test_the_barycentre_is_what_the_rule_gives_by_hand():
    neighbours = np.array([2 * X, 4 * Y])
    cosines = np.array([0.6, 0.2], dtype=np.float32)  # shares 3/4 and 1/4
    query, context = 5 * X, np.array([7 * X, 3 * X])
    found = barycentre(neighbours, cosines, query, context)
    # Snapped: (0.75, 0.25) / sqrt(0.625) = (0.948683, 0.316228); query and context mean: (1, 0).
    # Blend: 0.75 * snapped + 0.15 * (1, 0) + 0.10 * (1, 0) = (0.961512, 0.237171), of norm 0.990330.
    # Magnitude: 3/4 * 2 + 1/4 * 4 = 2.5.
    expected = 2.5 * np.array([0.961512, 0.237171, 0]) / 0.990330
    np.testing.assert_allclose(found.vector, expected, atol=1e-5)
    np.testing.assert_allclose(found.shares, [0.75, 0.25], atol=1e-6)
    assert found.cos_query == pytest.approx(0.948683, abs=1e-6)
    assert found.cos_context == pytest.approx(0.948683, abs=1e-6)
    assert found.blend == STANDARD
    assert not found.clamp_fired


def test_a_snap_away_from_the_query_fires_the_clamp():
    # cos(snap, query) is 0, below 0.20, while cos(snap, context mean) is 0.707.
    found = barycentre(X[None], np.ones(1, np.float32), Z, np.array([X, Z]))
    assert found.clamp_fired
    assert found.blend == CLAMPED
    blend = 0.60 * X + 0.25 * Z + 0.15 * unit(X + Z)
    np.testing.assert_allclose(found.vector, unit(blend), atol=1e-6)


def test_a_snap_away_from_the_context_fires_the_clamp():
    # cos(snap, query) is 1, cos(snap, context mean) is 0.2425, below 0.30.
    found = barycentre(X[None], np.ones(1, np.float32), X, np.array([X, 4 * Z, Z, Z, Z]))
    assert found.cos_context == pytest.approx(1 / 17**0.5, abs=1e-6)
    assert found.clamp_fired


@pytest.mark.parametrize(("angle", "fires"), [(0.199, True), (0.201, False)])
def test_the_clamp_begins_at_its_threshold(angle, fires):
    query = angle * X + (1 - angle**2) ** 0.5 * Y
    assert barycentre(X[None], np.ones(1, np.float32), query, X[None]).clamp_fired is fires


def test_lengths_of_query_and_context_do_not_matter():
    neighbours, cosines = np.array([2 * X, 4 * Y]), np.array([0.6, 0.2], dtype=np.float32)
    context = np.array([X + Z, Y])
    short = barycentre(neighbours, cosines, X, context)
    long = barycentre(neighbours, cosines, 90 * X, context * [[0.1], [300]])
    np.testing.assert_allclose(short.vector, long.vector, rtol=1e-5)


def test_neighbours_on_the_other_side_have_no_weight():
    found = barycentre(np.array([X, -Y]), np.array([0.5, -0.5], np.float32), X, X[None])
    np.testing.assert_array_equal(found.shares, [1, 0])


def test_where_every_cosine_is_negative_the_least_distant_neighbour_stands_alone():
    found = barycentre(np.array([X, Y]), np.array([-0.1, -0.5], np.float32), X, X[None])
    np.testing.assert_array_equal(found.shares, [1, 0])
    assert np.isfinite(found.vector).all()


def test_the_medoid_is_the_best_real_vector_untouched():
    neighbours = np.array([2 * X + Z, 4 * Y])
    found = medoid(neighbours, np.array([0.6, 0.2], np.float32), Y, np.array([Y, Z]))
    np.testing.assert_array_equal(found.vector, neighbours[0])
    assert found.blend == UNBLENDED
    assert not found.clamp_fired
    assert found.cos_query == 0


def test_shares_of_a_blend_add_up_to_one():
    for blend in (STANDARD, CLAMPED, UNBLENDED):
        assert blend.snap + blend.query + blend.context == pytest.approx(1)


def test_the_context_mean_weighs_directions_and_not_lengths():
    np.testing.assert_allclose(context_mean(np.array([100 * X, Y])), unit(X + Y), atol=1e-6)


def test_near_duplicates_are_found_at_the_limit():
    close = 0.98 * X + (1 - 0.98**2) ** 0.5 * Y
    far = 0.97 * X + (1 - 0.97**2) ** 0.5 * Y
    assert cosine(close, X) == pytest.approx(0.98)
    np.testing.assert_array_equal(
        near_duplicates(np.array([3 * X, close, far, Z]), np.array([9 * X, Y]), 0.9799),
        [True, True, False, False],
    )


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(NotFound, match="'median'; have barycentre, medoid"):
        policy_named("median")
