"""Text to chunks within a limit."""

from nextvec.chunking import chunk, fit


def words(texts):
    return [len(text.split()) for text in texts]


def test_a_long_text_is_cut_at_punctuation_and_nothing_is_lost():
    text = "the boat left early, the fog came down; the bell rang twice and nobody answered"
    pieces = fit([text], words, 6)
    assert all(count <= 6 for count in words(pieces))
    assert " ".join(pieces) == text
    assert "the fog came down;" in pieces


def test_sentences_are_chunks():
    assert chunk("The bell rang. Nobody came.", words, 10) == ["The bell rang.", "Nobody came."]


def test_control_characters_which_no_stage_takes_are_left_out():
    assert fit(["She said \x93no\x94.", "\x00\x7f"], words, 10) == ["She said no."]
