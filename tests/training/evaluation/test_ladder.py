"""What requests end with, on hypotheses written by hand."""

import numpy as np
import pytest
import torch

from services.decoder.walk import Hypothesis, Walk
from training.evaluation.ladder import HEADLINE, SHARES, Outcomes, Request

OWN = "The ferry crosses the bay near Port Ellis."
SOURCE = f"Marta mends a green net beside the old mill.\n{OWN}"
GIBBERISH = "net net net net net net net net net net net net"


def shares(*texts):
    """Shares of one request whose hypotheses come ever nearer to the vector."""
    hypotheses = [Hypothesis(step, (0, step), text, step / 10) for step, text in enumerate(texts)]
    vector = np.ones(4, np.float32)
    request = Request(vector, OWN, SOURCE, [OWN], vector[None])
    walked = Walk(torch.from_numpy(vector), hypotheses, closed=True)
    found = Outcomes.of([request], [walked], np.zeros(1, int)).figures()
    return {name: estimate.value for name, estimate in found.items()}


def test_hits_are_of_the_callers_own_text_and_not_of_what_was_blended_in():
    found = shares("", "Marta waits in the rain with a heron.")
    assert (found["keyword_hit"], found["keyword_hit_source"]) == (0, 1)
    found = shares("", "Then they came to Port Ellis again at noon.")
    assert found["keyword_hit"] == found["entity_hit"] == found["entity_hit_source"] == 1


@pytest.mark.parametrize("later", ["The ferry waits in the bay.", GIBBERISH])
def test_gibberish_is_what_rung_1_offers_whatever_the_ladder_makes_of_it(later):
    found = shares("The ferry crosses the bay.", GIBBERISH, GIBBERISH, later)
    assert (found["gibberish"], found["gibberish_served"]) == (1, 0)
    assert shares(GIBBERISH, "The ferry crosses the bay.")["gibberish"] == 0


def test_the_headline_comes_first_and_every_share_has_its_name():
    assert tuple(shares("", "The ferry crosses the bay.")) == SHARES
    assert SHARES[: len(HEADLINE)] == HEADLINE
