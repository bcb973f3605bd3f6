from types import SimpleNamespace

import pytest

from gateway.cutting import Cutter
from gateway.limits import MAX_OWN_CHUNKS
from nextvec.errors import InvalidInput
from nextvec.family import Family
from tests.gateway.conftest import TOKEN_LIMIT
from tests.gateway.toys import count_tokens

CUTTER = Cutter(count_tokens, TOKEN_LIMIT)


def work(*messages, paragraph=""):
    return SimpleNamespace(messages=messages, paragraph=paragraph)


async def test_messages_within_the_limit_stay_whole_and_in_order():
    messages = ["One. Two in the same message.", "Three  is\nwrapped."]
    assert await CUTTER.own_chunks(work(*messages)) == [messages[0], "Three is wrapped."]


async def test_a_message_over_the_limit_is_split_at_its_sentences():
    long = "The first sentence has seven words here. The second one has eight words in it."
    chunks = await CUTTER.own_chunks(work("Before.", long, "After."))
    assert chunks == ["Before.", *long.replace("here. ", "here.|").split("|"), "After."]


async def test_a_paragraph_is_cut_into_sentences():
    chunks = await CUTTER.own_chunks(work(paragraph="It rained. We stayed in.\nThen it stopped."))
    assert chunks == ["It rained.", "We stayed in.", "Then it stopped."]


async def test_one_word_is_a_chunk():
    assert await CUTTER.own_chunks(work(paragraph="Rain")) == ["Rain"]
    assert await CUTTER.own_chunks(work("Rain")) == ["Rain"]


async def test_six_hundred_chunks_are_refused():
    with pytest.raises(InvalidInput, match=f"paragraph makes 600 chunks; must make at most {MAX_OWN_CHUNKS}"):
        await CUTTER.own_chunks(work(paragraph=600 * "It rained. "))


async def test_text_that_cannot_fit_is_refused_before_it_is_cut():
    with pytest.raises(InvalidInput, match="paragraph makes at least 550 chunks"):
        await CUTTER.own_chunks(work(paragraph=600 * "It rained and we all stayed in the house that day. "))


async def test_long_messages_that_make_too_many_chunks_are_refused():
    with pytest.raises(InvalidInput, match="messages makes 300 chunks"):
        await CUTTER.own_chunks(work(*3 * [100 * "It rained on us all. "]))


@pytest.mark.parametrize(
    "text", ["a " * 16_000, "日本語。" * 8_000, "x" * 32_768, ". " * 10_000, "—" * 5_000]
)
async def test_strange_texts_are_cut_or_refused_by_the_real_tokenizers(text):
    family = Family.open("mini")
    cutter = Cutter(family.count_tokens, family.token_limit)
    try:
        chunks = await cutter.own_chunks(work(paragraph=text))
    except InvalidInput:
        return
    assert 0 < len(chunks) <= MAX_OWN_CHUNKS
    assert max(family.count_tokens(chunks)) <= family.token_limit
