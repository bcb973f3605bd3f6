"""Checks of a decoded text: repetition, variety of characters, and words shared with its source."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from nextvec.characters import CONTROL

MIN_WORDS = 1
MAX_CONTROLS = 0
"""The encoder refuses them, and a byte-level tokenizer can write them."""

MAX_BIGRAM_SHARE = 0.25
MIN_BIGRAMS = 8
"""With fewer bigrams one that occurs just twice is over the share already."""

MIN_ENTROPY_BITS = 2.8
MIN_CHARACTERS = 14
"""Seven different characters, each of them once, have 2.8 bits; a fair text needs about twice as many."""

MIN_OVERLAP = 0.05
"""One content word of twenty, which is as many as a chunk of 32 tokens has: at least one must be shared."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_STOP_WORDS = """
    a about above after again against all almost along already also although always am among an and
    another any are around as at away back be became because become been before being below between both
    but by came can cannot come could day did do does doing done down during each either else enough even
    ever every far few first for from further get give go going gone good got great had has have having he
    her here hers herself him himself his how however i if in into is it its itself just keep know last
    later least less let like long made make many may me might mine more most much must my myself near
    neither never next no nor not nothing now of off often old on once one only onto or other others our
    ours out over own part people perhaps put quite rather same say see seem seemed several shall she should
    since so some something sometimes soon still such take than that the their theirs them themselves then
    there these they thing things this those though three through thus time to together too toward two
    under until up upon us used usually very was way we well went were what when where whether which while
    who whole whom whose why will with within without would year years yet you your yours
    don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't wouldn't it's he's she's that's
    there's i'm i've i'd i'll we're we've you're they're"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_ENDINGS = ("ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "y", "e")


@dataclass(frozen=True)
class Check:
    """One check of one text: a measured value held against a limit of the same unit."""

    name: str
    value: float
    limit: float
    passed: bool


def check(text: str, source: str = "") -> list[Check]:
    """Runs the checks that mean something for the text.

    `bigram_share` is left out where there are too few bigrams, `source_overlap` where the source has no
    content words.
    """
    found, controls = len(words(text)), len(CONTROL.findall(text))
    checks = [
        Check("words", found, MIN_WORDS, found >= MIN_WORDS),
        Check("control_characters", controls, MAX_CONTROLS, controls <= MAX_CONTROLS),
    ]
    share = bigram_share(text)
    if share is not None:
        checks.append(Check("bigram_share", share, MAX_BIGRAM_SHARE, share <= MAX_BIGRAM_SHARE))
    entropy, least = character_entropy(text), entropy_limit(text)
    checks.append(Check("character_entropy", entropy, least, entropy >= least))
    overlap = source_overlap(text, source)
    if overlap is not None:
        checks.append(Check("source_overlap", overlap, MIN_OVERLAP, overlap >= MIN_OVERLAP))
    return checks


def words(text: str) -> list[str]:
    """Words in lower case, in order."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def bigram_share(text: str) -> float | None:
    """Share, 0 to 1, of the most common pair of neighbouring words; None where pairs are too few."""
    bigrams = Counter(pairwise(words(text)))
    total = bigrams.total()
    return max(bigrams.values()) / total if total >= MIN_BIGRAMS else None


def character_entropy(text: str) -> float:
    """Bits per character of the text's own character frequencies, letters in lower case; 0 for no text."""
    counts = Counter(text.lower())
    total = counts.total()
    return sum(n / total * math.log2(total / n) for n in counts.values())


def entropy_limit(text: str) -> float:
    """Least entropy in bits that the text must have.

    A short text cannot have many different characters, so that less is asked of it: half of what it would
    have if all of its characters differed.
    """
    if not text or len(text) >= MIN_CHARACTERS:
        return MIN_ENTROPY_BITS
    return math.log2(len(text)) / 2


def content_words(text: str) -> set[str]:
    """Stems of the words that are no stop words and longer than two letters, numbers of any length."""
    return {stem(w) for w in words(text) if w not in STOP_WORDS and (len(w) > 2 or w.isdigit())}


def source_overlap(text: str, source: str) -> float | None:
    """Share, 0 to 1, of the text's content words that the source has; None where the source has none."""
    known = content_words(source)
    if not known:
        return None
    found = content_words(text)
    return len(found & known) / len(found) if found else 0.0


def stem(word: str) -> str:
    """A word without the commonest English endings, so that `bridge`, `bridges` and `bridged` agree."""
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
