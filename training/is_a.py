"""Signs in the words that chunks classify things instead of telling something: IS-A chains and their kin.

The first signs need no list of phrases and so hold for any wording: prose refers back ("it", "this",
"however"), does not pass the last term on to the next chunk, brings its words up again later, and does not
pour its sentences into a few moulds. The phrases of hierarchies are one more sign. English only.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from training.coherence import Bound, Sign

Words = list[str]

_FUNCTION_WORDS = """
a an the and or nor but if then else of in on at to from by with without for as into onto over under about
between among through during before after above below up down out off again further than so too very can
could may might must shall should will would do does did done be is am are was were been being have has had
having not no only own same such both each every any all some few more most other another one two this that
these those here there when where why how what which who whom whose it its he him his she her hers they them
their theirs we us our ours you your yours i me my mine also just because while until although though
however
"""
_REFERRING_WORDS = """
he him his she her hers they them their theirs it its this these those i me my we us our you your such
however therefore thus then also but because although though while when so after before since yet still
instead moreover finally next later until if again meanwhile nevertheless hence afterwards soon already even
now once there
"""
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
_REFERRING = frozenset(_REFERRING_WORDS.split())
_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_IS_A = re.compile(
    r"""(?ix)
    \b(?:is|are|was|were|as|,)\s+(?:an?|one|the|any|some)?\s*(?:\w+\s+)?(?:kinds?|types?|sorts?|forms?|class(?:es)?
        |subclass(?:es)?|species|(?:sub)?categor(?:y|ies)|subtypes?|examples?|instances?|members?|hyponyms?
        |hypernyms?)\s+(?:of|for)\b
    |\b(?:kinds?|types?|sorts?|class(?:es)?|subclass(?:es)?|categor(?:y|ies)|subtypes?|examples?|instances?)
        \s+of\s+(?:\w+\s+){1,4}(?:is|are)\b
    |\b(?:is_?a|isa|sub_?class_?of|sub_?type_?of|instance_?of|part_?of|type_?of|kind_?of|has_?part|broader|narrower
        |hyponym|hypernym|rdfs?:\w+|skos:\w+|owl:\w+)\b
    |\b(?:belongs?|belonging)\s+to\s+the\s+(?:\w+\s+)?(?:class|category|family|genus|group|kind|type|order)\b
    |\b(?:falls?|comes?|ranks?|classified|classed|grouped|categori[sz]ed|listed|filed)\s+(?:under|among|as)\b
    |\b(?:parent|child|super|sub)[\s-]?(?:class|category|type|term|concept|kind)\b
    |^(?:[-*•+]\s*)?(?:(?:an?|the|every|each|all|any)\s+)?(?:[\w'’-]+\s+){1,4}(?:is|are)\s+(?:an?|the|one|all)?
        \s*(?:[\w'’-]+\s*){1,4}[.;]?$
    |^(?:[-*•+]\s*)?(?:(?:an?|the)\s+)?(?:[\w'’-]+\s+){1,4}(?:includes?|comprises?|encompass(?:es)?|covers?
        |subsumes?|contains?)\s+(?:(?:an?|the)\s+)?(?:[\w'’,-]+\s*){1,8}[.;]?$
    |(?:>|→|->|::|»|\\|/)\s*\w+.*(?:>|→|->|::|»)
    """
)
_EVERYWHERE = 0.25  # a word in so many chunks belongs to the wording, not to what is said
_FREQUENT = 0.02  # a word in so many chunks may be part of a mould
_MOULDS = 5
_ODD_IS_A = 0.4  # of one document's chunks; none of the documents of prose reaches 0.3

_REFERENCE = Bound(
    "share of chunks that refer back",
    0.35,
    0.22,
    "0.46 to 0.95",
    "few pronouns and connectives join the chunks, as in isolated statements",
)
_HIERARCHY = Bound(
    "share of chunks that classify", 0.10, 0.20, "0.00 to 0.04", "chunks say what is a kind of what"
)
_CHAIN = Bound(
    "share of neighbours with the same terms",
    0.22,
    0.35,
    "0.00 to 0.17",
    "each chunk takes its terms from the one before, as in A is a B, B is a C",
)
_SUBJECT = Bound(
    "share of neighbours with the same first term",
    0.15,
    0.30,
    "0.00 to 0.07",
    "chunk after chunk states a fact of one subject",
)
_REUSE = Bound(
    "share of repeated terms that the last chunk had",
    0.55,
    0.68,
    "0.06 to 0.44",
    "terms come up twice in a row and never again",
)
_NOVELTY = Bound(
    "share of terms that are new in their document",
    0.40,
    0.30,
    "0.54 to 0.90",
    "the chunks go over the same few terms",
)
_MOULD = Bound(
    "share of chunks in the five commonest moulds",
    0.18,
    0.28,
    "0.02 to 0.13",
    "the sentences are filled-in forms",
)
_LENGTH = Bound("words in the middle chunk", 7, 4, "11 to 16", "chunks are terms or triples, not sentences")


def lexical_signs(runs: Sequence[Sequence[str]]) -> list[Sign]:
    """What the words of runs of chunks show."""
    words = [[words_of(chunk) for chunk in run] for run in runs]
    chunks = [chunk for run in words for chunk in run]
    present = Counter(word for chunk in chunks for word in set(chunk))
    everywhere = {word for word, n in present.items() if n >= _EVERYWHERE * len(chunks)}
    terms = [[_terms(chunk, everywhere) for chunk in run] for run in words]
    reused, new = _reuse(terms)
    return [
        _REFERENCE.judge(_mean(not _REFERRING.isdisjoint(chunk) for chunk in chunks)),
        _HIERARCHY.judge(_mean(is_classification(chunk) for run in runs for chunk in run)),
        _CHAIN.judge(_mean(_same_terms(a, b) for run in terms for a, b in pairwise(run))),
        _SUBJECT.judge(_mean(_same_subject(a, b) for run in words for a, b in pairwise(run))),
        _REUSE.judge(reused),
        _NOVELTY.judge(new),
        _MOULD.judge(_moulded(chunks, present)),
        _LENGTH.judge(float(np.median([len(chunk) for chunk in chunks]))),
    ]


def is_classification(chunk: str) -> bool:
    """Whether a chunk says what is a kind of what, in one of the usual phrases."""
    return bool(_IS_A.search(chunk))


def is_odd(run: Sequence[str]) -> bool:
    """Whether a document's chunks classify as no document of prose does."""
    return sum(map(is_classification, run)) > _ODD_IS_A * len(run)


def words_of(chunk: str) -> Words:
    """Lower-case words; `MusicalArtist` is two."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(_CAMEL.sub(" ", chunk))]


def _terms(chunk: Words, everywhere: set[str]) -> set[str]:
    return {_singular(word) for word in chunk if word not in _FUNCTION and word not in everywhere}


def _singular(word: str) -> str:
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _same_terms(a: set[str], b: set[str]) -> bool:
    return len(a & b) >= 0.5 * min(len(a), len(b)) > 0


def _same_subject(a: Words, b: Words) -> bool:
    first, second = (next((word for word in chunk if word not in _FUNCTION), None) for chunk in (a, b))
    return first is not None and first == second


def _reuse(terms: list[list[set[str]]]) -> tuple[float, float]:
    """Share of the terms met before that the chunk right before had, and share of terms not met before."""
    recent: list[bool] = []
    new: list[bool] = []
    for run in terms:
        last: dict[str, int] = {}
        for place, chunk in enumerate(run):
            if place >= 2:
                new += [term not in last for term in chunk]
                recent += [last[term] == place - 1 for term in chunk if term in last]
            last.update(dict.fromkeys(chunk, place))
    return float(np.mean(recent)) if recent else 0.0, float(np.mean(new)) if new else 1.0


def _moulded(chunks: list[Words], present: Counter[str]) -> float:
    """Share of the chunks whose beginning, rare words blanked, is one of the commonest and not by chance."""
    frequent = {word for word, n in present.items() if n >= _FREQUENT * len(chunks)}
    moulds = Counter(_mould(chunk, frequent) for chunk in chunks)
    return sum(n for _, n in moulds.most_common(_MOULDS) if n >= 3) / len(chunks)


def _mould(chunk: Words, frequent: set[str]) -> tuple[str, ...]:
    parts: list[str] = []
    for word in chunk[:8]:
        part = word if word in frequent else ""
        if part or not parts or parts[-1]:
            parts.append(part)
    return tuple(parts[:4])


def _mean(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else 0.0
