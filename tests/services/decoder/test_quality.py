"""What the checks let through and what they do not."""

import math

import pytest

from services.decoder import quality

SENTENCE = "The ferry crosses the wide bay twice a day, carrying letters and salt to the islands."
BABBLE = "often often often often often often often often often often often often"


def verdicts(text, source=""):
    return {check.name: check.passed for check in quality.check(text, source)}


def test_a_good_sentence_passes_every_check():
    assert verdicts(SENTENCE, "A ferry brings salt.") == {
        "words": True,
        "control_characters": True,
        "bigram_share": True,
        "character_entropy": True,
        "source_overlap": True,
    }


@pytest.mark.parametrize(
    "text", ["It was a dog.", "Bees dance.", "Hello", "Paris", "Yes.", "1817", "We ate fish."]
)
def test_a_short_text_is_not_failed_for_being_short(text):
    assert all(verdicts(text).values())
    assert "bigram_share" not in verdicts(text)


@pytest.mark.parametrize(
    "text", [BABBLE, "the the the the", "aaaa", "a a a a a a", "", "ha ha ha ha ha ha ha ha ha"]
)
def test_babble_fails(text):
    assert not all(verdicts(text).values())


@pytest.mark.parametrize("text", ["", " ", "\n", ".", "?", "_", "\x00", "… —", "!?;:,.-+*/()[]{}<>"])
@pytest.mark.parametrize("source", ["", "It is what it is.", "A ferry brings salt."])
def test_a_text_without_a_word_fails_whatever_its_source(text, source):
    assert not verdicts(text, source)["words"]


@pytest.mark.parametrize("control", ["\x00", "\x0b", "\x1f", "\x7f", "\x9f"])
def test_a_control_character_that_the_encoder_refuses_fails_an_otherwise_good_sentence(control):
    failed = [
        name for name, passed in verdicts(SENTENCE.replace("day", f"d{control}ay")).items() if not passed
    ]
    assert failed == ["control_characters"]


def test_tabs_and_line_ends_are_text():
    assert all(verdicts(SENTENCE.replace(", ", ",\r\n\t")).values())


def test_a_bigram_that_occurs_twice_among_eight_is_allowed_and_three_times_is_not():
    assert quality.bigram_share("one two three one two four five six seven") == 2 / 8
    assert verdicts("one two three one two four five six seven")["bigram_share"]
    assert not verdicts("one two three one two four one two five")["bigram_share"]


def test_seven_bigrams_mean_nothing_yet():
    assert quality.bigram_share("one two one two one two one two") is None


def test_entropy_is_that_of_the_character_frequencies():
    assert quality.character_entropy("abcd") == pytest.approx(2)
    assert quality.character_entropy("aab") == pytest.approx(
        -(2 / 3) * math.log2(2 / 3) - math.log2(1 / 3) / 3
    )
    assert quality.character_entropy("aA") == 0


def test_stop_words_and_endings_do_not_count():
    assert quality.source_overlap("It was there with them", "It was there with them, and so were we") is None
    assert quality.source_overlap("The bridges", "a bridge was bridged") == 1
    assert quality.source_overlap("The castle and its bridge", "That bridge was old") == 0.5
    assert quality.source_overlap("It is what it is", "That bridge was old") == 0


def test_overlap_is_left_out_without_a_source_and_fails_without_a_shared_word():
    assert "source_overlap" not in verdicts(SENTENCE)
    assert not verdicts(SENTENCE, "Photosynthesis feeds every green plant.")["source_overlap"]


def test_checks_carry_the_value_and_the_limit_that_they_used():
    checks = {check.name: check for check in quality.check("Hello", "Hello there, sailor")}
    assert checks["character_entropy"].limit == pytest.approx(math.log2(5) / 2)
    assert checks["source_overlap"].value == 1
    assert quality.entropy_limit(SENTENCE) == 2.8
