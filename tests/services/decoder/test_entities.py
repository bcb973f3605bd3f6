from services.decoder.entities import entities, names_any


def test_entities_are_runs_of_capitalised_words_and_numbers():
    text = "In 1869 the Cutty Sark was launched at Dumbarton; it cost 16,150 pounds."
    assert entities(text) == {"1869", "cutty sark", "dumbarton", "16 150"}


def test_the_first_word_of_a_sentence_is_no_entity_by_itself():
    text = 'Bread rises. "Yeast makes gas," said Ada Byron. The North Sea is cold.\nSnow fell.'
    assert entities(text) == {"ada byron", "north sea"}
    assert entities("Hull is a port. Ships call at Hull.") == {"hull"}


def test_an_entity_is_named_where_all_its_words_stand_in_a_row():
    wanted = frozenset({"cutty sark", "1869"})
    assert names_any("the Cutty-Sark sailed", wanted)
    assert names_any("It was 1869.", wanted)
    assert not names_any("the sark was cutty in 18690", wanted)
    assert not names_any("anything", frozenset())
