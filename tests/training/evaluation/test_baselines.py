import numpy as np
import pytest

from nextvec.errors import InvalidInput
from training.evaluation import lvm_metrics
from training.evaluation.baselines import NAMES, Baselines, context_mean, cross_fitted, last_chunk

WEIGHTS = np.array([0.0, 0.1, 0.1, 0.3, 0.5])


def unit_rows(random, *shape):
    rows = random.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def weighted():
    """Targets that are a weighted sum of their contexts."""
    contexts = unit_rows(np.random.default_rng(0), 300, 5, 12)
    targets = np.einsum("nkd,k->nd", contexts, WEIGHTS).astype(np.float32)
    return contexts, targets


def test_five_weights_are_found(weighted):
    fitted = Baselines.fit([weighted], weighted)
    assert fitted.five / fitted.five.sum() == pytest.approx(WEIGHTS / WEIGHTS.sum(), abs=0.02)
    assert lvm_metrics.cosine(fitted.by_five_weights(weighted[0]), weighted[1]).min() > 0.99


def test_blocks_of_windows_fit_like_all_of_them_at_once(weighted):
    contexts, targets = weighted
    whole = Baselines.fit([weighted], weighted)
    blocks = Baselines.fit(
        [(contexts[:100], targets[:100]), (contexts[100:], targets[100:])], (contexts, targets)
    )
    assert blocks.five == pytest.approx(whole.five, abs=1e-5)
    assert blocks.ridge == pytest.approx(whole.ridge, abs=1e-5)


def test_few_windows_fit_the_same_by_their_own_inner_products():
    random = np.random.default_rng(0)
    windows = unit_rows(random, 40, 5, 12), unit_rows(random, 40, 12)
    held_out = unit_rows(random, 40, 5, 12), unit_rows(random, 40, 12)
    few, many = Baselines.fit_few(windows, held_out), Baselines.fit([windows], held_out)
    assert few.five == pytest.approx(many.five, abs=1e-4)
    assert few.ridge == pytest.approx(many.ridge, abs=1e-4)


def test_ridge_finds_a_linear_map_that_no_five_weights_are():
    random = np.random.default_rng(0)
    contexts = unit_rows(random, 2000, 5, 6)
    turn = np.linalg.qr(random.standard_normal((6, 6)))[0].astype(np.float32)
    targets = contexts[:, -1] @ turn
    fitted = Baselines.fit([(contexts, targets)], (contexts, targets))
    assert lvm_metrics.cosine(fitted.by_ridge(contexts), targets).mean() > 0.99
    assert lvm_metrics.cosine(fitted.by_five_weights(contexts), targets).mean() < 0.9


def test_the_penalty_keeps_ridge_from_learning_noise_by_heart():
    random = np.random.default_rng(0)
    contexts, targets = unit_rows(random, 80, 5, 12), unit_rows(random, 80, 12)
    unseen = unit_rows(random, 200, 5, 12), unit_rows(random, 200, 12)
    chosen_by_others = Baselines.fit([(contexts, targets)], unseen)
    chosen_by_itself = Baselines.fit([(contexts, targets)], (contexts, targets))
    assert np.abs(chosen_by_others.ridge).max() <= np.abs(chosen_by_itself.ridge).max()


def test_fitted_baselines_come_back_from_a_file(weighted, tmp_path):
    fitted = Baselines.fit([weighted], weighted)
    fitted.save(tmp_path / "baselines.safetensors")
    read = Baselines.load(tmp_path / "baselines.safetensors")
    assert read.five == pytest.approx(fitted.five, abs=1e-3)
    # Stored in 8 bits: half a step of the largest entry, which is about 1.
    assert read.ridge == pytest.approx(fitted.ridge, abs=1 / 127)


def test_cross_fitted_predictions_have_not_seen_what_they_predict():
    random = np.random.default_rng(0)
    contexts, targets = unit_rows(random, 90, 5, 4), unit_rows(random, 90, 4)
    predicted = cross_fitted(contexts, targets, np.arange(90) % 3)
    assert tuple(predicted) == NAMES
    changed = targets.copy()
    changed[0] = -changed[0]
    again = cross_fitted(contexts, changed, np.arange(90) % 3)
    for name in NAMES:
        assert again[name][0] == pytest.approx(predicted[name][0])


def test_cross_fitting_needs_three_folds(weighted):
    with pytest.raises(InvalidInput, match="at least 3"):
        cross_fitted(*weighted, np.arange(300) % 2)


def test_the_simplest_two_are_the_last_chunk_and_the_mean(weighted):
    contexts, _ = weighted
    assert last_chunk(contexts) == pytest.approx(contexts[:, 4], abs=1e-6)
    assert context_mean(contexts) == pytest.approx(contexts.mean(axis=1), abs=1e-6)
