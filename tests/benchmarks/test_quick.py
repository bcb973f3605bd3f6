"""Quick runs at toy sizes: every figure comes, whatever its value."""

from pathlib import Path

import torch

from benchmarks import decode, snap
from benchmarks.harness import Options
from training.inversion_models import InversionShape

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
TOY = InversionShape(width=32, feed_forward=64, heads=4, encoder_layers=2, decoder_layers=2, memory=3)

torch.set_num_threads(1)


def test_random_weights_give_every_figure_of_the_large_decoder():
    results = decode.random_size(Options(ARTIFACTS, quick=True), ["native"], TOY, vocabulary=500, limit=12)
    found = {result.name: result for result in results}
    assert {
        "t5_base_step1_exact",
        "t5_base_step1_fastest",
        "t5_base_batch8_fastest",
        "t5_base_ladder_fastest",
        "t5_base_bandwidth",
    } <= found.keys()
    assert found["t5_base_equal_texts"].value == 1
    assert all(result.value > 0 for result in results)


def test_a_small_bank_is_held_to_no_bar():
    results = snap.run(Options(ARTIFACTS, quick=True))
    assert {result.passed for result in results} == {None}
    recall = next(result for result in results if "recall" in result.name)
    assert 0 < recall.value <= 1
