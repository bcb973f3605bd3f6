import numpy as np
import pytest

from nextvec.vectors import unit
from training.evaluation import lvm_metrics
from training.evaluation.baselines import context_mean, last_chunk

DIMENSIONS = 32


@pytest.fixture
def document():
    """Forty vectors that wander: neighbours are near to each other."""
    random = np.random.default_rng(0)
    return np.cumsum(random.standard_normal((40, DIMENSIONS)), axis=0).astype(np.float32)


@pytest.fixture
def windows(document):
    positions = np.arange(5, len(document))
    return document[positions[:, None] + np.arange(-5, 0)], document[positions], positions


def test_an_oracle_has_cosine_one(windows):
    _, targets, _ = windows
    assert lvm_metrics.cosine(targets, targets) == pytest.approx(np.ones(35))
    centre = unit(targets).mean(axis=0)
    assert lvm_metrics.centred_cosine(targets, targets, centre) == pytest.approx(np.ones(35))


def test_length_of_a_prediction_does_not_matter(windows, document):
    contexts, targets, positions = windows
    predictions = contexts.mean(axis=1)
    centre = unit(targets).mean(axis=0)
    zeros = np.zeros(35, int)
    for metric in (
        lambda p: lvm_metrics.cosine(p, targets),
        lambda p: lvm_metrics.centred_cosine(p, targets, centre),
        lambda p: lvm_metrics.contrastive_accuracy(p, targets, zeros, positions),
        lambda p: lvm_metrics.ranks(p, document, positions),
        lambda p: lvm_metrics.copying(p, targets, contexts)[0],
        lambda p: lvm_metrics.round_trip_gap(p, targets, targets),
    ):
        assert metric(7 * predictions) == pytest.approx(metric(predictions), abs=1e-5)


def test_centring_takes_from_a_constant_prediction_what_all_vectors_share():
    random = np.random.default_rng(0)
    targets = unit(random.standard_normal((500, DIMENSIONS)) + 2).astype(np.float32)
    constant = np.full_like(targets, 2) + 0.1 * random.standard_normal((1, DIMENSIONS)).astype(np.float32)
    assert lvm_metrics.cosine(constant, targets).mean() > 0.8
    centred = lvm_metrics.centred_cosine(constant, targets, unit(targets).mean(axis=0))
    assert abs(centred.mean()) < 0.05


def test_an_oracle_has_contrastive_accuracy_one(windows):
    _, targets, positions = windows
    assert lvm_metrics.contrastive_accuracy(targets, targets, np.zeros(35, int), positions).min() == 1


def test_contrastive_accuracy_leaves_out_the_neighbours_of_the_target():
    targets = np.eye(4, dtype=np.float32)
    # Nearest is the next chunk, which is left out; the two others are farther than the target.
    predictions = np.array([[0.5, 1, 0, 0]], np.float32).repeat(4, axis=0)
    documents, positions = np.zeros(4, int), np.arange(4)
    assert lvm_metrics.contrastive_accuracy(predictions, targets, documents, positions)[0] == 1
    # In another document the same position is no neighbour.
    apart = lvm_metrics.contrastive_accuracy(predictions, targets, np.arange(4), positions)
    assert apart[0] == pytest.approx(2 / 3)


def test_contrastive_accuracy_of_nothing_to_compare_is_unknown():
    targets = np.eye(2, dtype=np.float32)
    found = lvm_metrics.contrastive_accuracy(targets, targets, np.zeros(2, int), np.arange(2))
    assert np.isnan(found).all()


def test_an_oracle_ranks_first(windows, document):
    _, targets, positions = windows
    assert lvm_metrics.ranks(targets, document, positions).tolist() == [1] * 35


def test_the_context_is_no_candidate():
    chunks = np.eye(9, dtype=np.float32)
    # Nearest to chunk 4, which is in the context of target 6, then to chunk 8, then to the target.
    prediction = np.array([[0, 0, 0, 0, 3, 0, 1, 0, 2]], np.float32)
    assert lvm_metrics.ranks(prediction, chunks, np.array([6])).tolist() == [2]
    # Chunk 0 is before the context, so it is a candidate.
    assert lvm_metrics.ranks(chunks[[0]] + 0.1 * chunks[[6]], chunks, np.array([6])).tolist() == [2]


def test_ties_count_against_the_prediction():
    chunks = np.eye(9, dtype=np.float32)
    assert lvm_metrics.ranks(np.ones((1, 9), np.float32), chunks, np.array([6])).tolist() == [4]


def test_a_repeated_sentence_is_no_wrong_answer():
    chunks = np.eye(9, dtype=np.float32)
    chunks[8] = 2 * chunks[6]
    assert lvm_metrics.ranks(chunks[[6]], chunks, np.array([6])).tolist() == [1]


def test_the_truth_is_as_near_to_the_context_as_itself_and_a_copy_is_nearer(windows):
    contexts, targets, _ = windows
    predicted, true = lvm_metrics.copying(targets, targets, contexts)
    assert predicted.mean() / true.mean() == 1
    copied, true = lvm_metrics.copying(last_chunk(contexts), targets, contexts)
    assert copied == pytest.approx(np.ones(35))
    assert copied.mean() / true.mean() > 1


def test_a_copy_of_a_context_that_repeats_itself_has_par_one():
    contexts = np.ones((3, 5, 4), np.float32)
    predicted, true = lvm_metrics.copying(last_chunk(contexts), contexts[:, 0], contexts)
    assert predicted.mean() / true.mean() == pytest.approx(1)


def test_the_offset_profile_of_an_oracle_peaks_at_the_target(windows, document):
    _, targets, positions = windows
    profile = lvm_metrics.offset_profile(targets, document, positions, np.arange(-2, 3))
    assert profile[:, 2] == pytest.approx(np.ones(35))
    assert np.nanmean(profile, axis=0).argmax() == 2
    assert np.isnan(profile[-1, 3:]).all()
    assert not np.isnan(profile[:, :2]).any()


def test_the_offset_profile_of_a_copy_peaks_at_the_last_chunk_of_the_context(windows, document):
    contexts, _, positions = windows
    profile = lvm_metrics.offset_profile(last_chunk(contexts), document, positions, np.arange(-2, 3))
    assert np.nanmean(profile, axis=0).argmax() == 1


def test_a_mean_does_not_look_at_the_order_and_a_copy_does(windows):
    contexts, _, _ = windows
    for effect in lvm_metrics.order_effect(context_mean, contexts).values():
        assert effect == pytest.approx(np.ones(35), abs=1e-5)
    for effect in lvm_metrics.order_effect(last_chunk, contexts).values():
        assert effect.mean() < 0.99


def test_a_roll_out_feeds_predictions_back():
    # Vectors that turn by a quarter each step: an oracle of the turn stays right, a copy falls behind.
    turn = np.array([[0, 1], [-1, 0]], np.float32)
    chain = [np.array([1, 0], np.float32)]
    for _ in range(9):
        chain.append(chain[-1] @ turn)
    contexts, following = np.array([chain[:5]]), np.array([chain[5:]])
    turned = lvm_metrics.roll_out(lambda c: c[:, -1] @ turn, contexts, following)
    assert turned == pytest.approx(np.ones((1, 5)))
    assert lvm_metrics.roll_out(last_chunk, contexts, following)[0] == pytest.approx([0, -1, 0, 1, 0])


def test_a_prediction_that_comes_back_from_text_as_it_was_has_no_gap():
    random = np.random.default_rng(0)
    p, t = random.standard_normal((2, 4, DIMENSIONS)).astype(np.float32)
    assert lvm_metrics.round_trip_gap(p, 3 * p, t) == pytest.approx(np.zeros(4), abs=1e-6)
    # A prediction that was right and is lost on the way is as far off as two unrelated directions.
    gap = lvm_metrics.round_trip_gap(
        np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1], np.eye(2)
    )
    assert gap == pytest.approx([2**0.5] * 2)
