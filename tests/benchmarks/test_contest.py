"""Engines that only take time."""

import time

import torch

from benchmarks.contest import Contest
from benchmarks.harness import Options


class Sleeper:
    """An engine, or the library, that takes so many seconds for anything."""

    def __init__(self, seconds):
        self.seconds = seconds

    def run(self, vectors, steps):
        time.sleep(self.seconds)

    invert = run


def speed(candidates):
    engines = {"native": Sleeper(0.006), "w8a16": Sleeper(0.003), "int8": Sleeper(0.0005)}
    contest = Contest("toy", "Toy", engines, Sleeper(0.01), torch.zeros(8, 4))
    results, fastest, seconds = contest.speed(3, Options(artifacts=None, quick=True), candidates)
    return {result.name: result for result in results}, fastest, seconds


def test_the_fastest_is_one_of_the_candidates_and_the_others_still_show_their_speed():
    found, fastest, seconds = speed(["native", "w8a16"])
    assert fastest == "w8a16"
    assert min(seconds) >= 0.003
    for task in ("step1", "batch8", "ladder"):
        assert found[f"toy_{task}_fastest"].what.endswith("by w8a16")
        assert found[f"toy_{task}_int8"].value > found[f"toy_{task}_fastest"].value
        assert found[f"toy_{task}_int8_ms"].value > 0


def test_a_candidate_that_could_not_be_loaded_is_passed_over():
    _, fastest, _ = speed(["native", "int4"])
    assert fastest == "native"
