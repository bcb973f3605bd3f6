"""Where a draft goes on after what was written differs from it."""

from services.decoder.draft import Draft, Drafts


def followed(draft, text):
    drafted = Draft(draft)
    for token in text:
        drafted.observe(token)
    return drafted.guesses(3)


def test_an_unchanged_text_is_guessed_to_its_end():
    assert followed([5, 6, 7, 8, 9], []) == [5, 6, 7]
    assert followed([5, 6, 7, 8, 9], [5, 6]) == [7, 8, 9]
    assert followed([5, 6, 7, 8, 9], [5, 6, 7, 8]) == [9]
    assert followed([5, 6], [5, 6]) == []


def test_a_changed_word_stands_for_the_drafts():
    assert followed([5, 6, 7, 8, 9], [5, 30]) == [7, 8, 9]


def test_a_word_left_out_is_skipped():
    assert followed([5, 6, 7, 8, 9], [5, 7]) == [8, 9]


def test_a_word_put_in_is_waited_for():
    assert followed([5, 6, 7, 8, 9], [5, 30, 6]) == [7, 8, 9]


def test_a_repeated_word_is_told_by_the_one_before_it():
    assert followed([1, 2, 3, 9, 2, 4], [9, 2]) == [4]


def test_the_text_may_outgrow_the_draft():
    assert followed([5], [5, 30, 31, 32]) == []


def test_no_draft_guesses_nothing():
    assert followed([], [5, 6]) == []


def written(drafts, text):
    for token in text:
        drafts.observe(token)
    return drafts.guesses(3)


def test_the_first_of_several_drafts_guesses_at_the_start():
    assert written(Drafts([5, 6, 7], [5, 8, 9]), []) == [5, 6, 7]


def test_the_draft_that_has_been_right_for_longest_guesses():
    assert written(Drafts([5, 6, 7], [5, 8, 9, 4]), [5, 8]) == [9, 4]


def test_a_draft_that_has_ended_leaves_guessing_to_another():
    assert written(Drafts([5], [7, 6, 8]), [5]) == [6, 8]


def test_without_a_text_there_are_no_guesses():
    assert written(Drafts(), [5]) == []


def test_as_many_guesses_are_likely_as_have_been_right():
    drafts = Drafts(range(5, 60))
    at_first = drafts.likely(0.2, 30)
    for token in range(5, 15):
        drafts.observe(token)
    assert drafts.likely(0.2, 30) > 2 * at_first > 0
    assert drafts.likely(0.8, 30) < drafts.likely(0.2, 30)
    for token in range(100, 110):
        drafts.observe(token)
    assert drafts.likely(0.2, 30) < at_first


def test_no_more_guesses_are_likely_than_there_are():
    drafts = Drafts(range(1000))
    for token in range(995):
        drafts.observe(token)
    assert drafts.likely(0.5, 30) == 5
    assert drafts.likely(0.5, 3) == 3


def test_nothing_is_likely_without_a_draft_nor_certain_with_one():
    assert Drafts().likely(0.2, 30) == 0
    assert Drafts([5, 6, 7]).likely(1.0, 30) == 0
