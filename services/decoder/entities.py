"""Names and numbers of a text, by the way they are written."""

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_CAPITALISED = r"[^\W\d_a-zß-öø-ÿ]\w+"
_NAME = re.compile(rf"{_CAPITALISED}(?:[ -]{_CAPITALISED})*|\d+(?:[.,]\d+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]['\"’”)]*\s|\n)['\"‘“(]*$")
_LOOK_BACK = 8
"""Characters before a name in which the end of the sentence before shows: a stop, quotes and a space."""


def entities(text: str) -> frozenset[str]:
    """Names and numbers of a text, in lower case: runs of capitalised words, and digits.

    A guess without a model: it knows no kinds of names and misses uncapitalised ones. The first word of a
    sentence is capitalised whatever it is, so it is left out; a name counts where it stands elsewhere too.
    """
    found = set()
    for match in _NAME.finditer(text):
        name = match.group()
        before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
        if _SENTENCE_START.search(before) and not name[0].isdigit():
            _, _, name = name.replace("-", " ").partition(" ")
        if name:
            found.add(_words(name))
    return frozenset(found)


def names_any(text: str, wanted: frozenset[str]) -> bool:
    """Whether any of the wanted words or runs of words, in lower case, stands in a text as whole words."""
    words = f" {_words(text)} "
    return any(f" {name} " in words for name in wanted)


def _words(text: str) -> str:
    return " ".join(token for token in _WORD.findall(text.replace("-", " ").lower()) if token[0].isalnum())
