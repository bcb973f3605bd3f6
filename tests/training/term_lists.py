"""Term hierarchies and lists of facts in many wordings, made of one small tree of things."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

TREE = {
    "thing": ["tool", "food", "place", "plan"],
    "tool": ["cutter", "holder", "lifter"],
    "cutter": ["saw", "knife", "shears"],
    "saw": ["hacksaw", "bandsaw", "fretsaw"],
    "knife": ["penknife", "breadknife", "cleaver"],
    "holder": ["clamp", "vise", "tongs"],
    "clamp": ["toolmaker clamp", "spring clamp"],
    "lifter": ["jack", "crane", "winch"],
    "crane": ["tower crane", "jib crane"],
    "food": ["fruit", "grain", "dish"],
    "fruit": ["berry", "citrus", "drupe"],
    "berry": ["currant", "gooseberry", "cranberry"],
    "drupe": ["plum", "peach", "apricot"],
    "grain": ["barley", "rye", "spelt"],
    "dish": ["stew", "pie", "salad"],
    "stew": ["goulash", "hotpot"],
    "place": ["dwelling", "shop", "road"],
    "dwelling": ["cottage", "flat", "houseboat"],
    "shop": ["bakery", "chandlery", "smithy"],
    "road": ["lane", "bypass", "causeway"],
    "plan": ["budget", "schedule", "route"],
}
PARENT = {child: parent for parent, children in TREE.items() for child in children}
LEAVES = [term for term in PARENT if term not in TREE]

Pair = tuple[str, str]
List = list[list[str]]


def a(term: str) -> str:
    """The term with its article."""
    return f"{'an' if term[0] in 'aeiou' else 'a'} {term}"


def camel(term: str) -> str:
    """The term as ontologies write it."""
    return term.title().replace(" ", "")


def _upwards(term: str) -> Iterator[str]:
    yield term
    while term in PARENT:
        term = PARENT[term]
        yield term


def _documents(wording: Callable[[Pair], str]) -> List:
    """Ten documents: three chains from a leaf to the root, in the wording."""
    dice = random.Random(2)
    documents = []
    for _ in range(10):
        chains = [list(_upwards(leaf)) for leaf in dice.sample(LEAVES, 3)]
        documents.append([wording(p) for c in chains for p in pairwise(c)])
    return documents


def _verbose(pair: Pair, dice: random.Random = random.Random(3)) -> str:  # noqa: B008
    low, high = pair
    return dice.choice(
        [
            f"When people speak of {a(low)} they mean a particular sort of {high}.",
            f"Strictly speaking {a(low)} counts as one variety of {high}, among several others.",
            f"Whoever owns {a(low)} owns {a(high)}, since the one is a special case of the other.",
            f"In the catalogue you will find {a(low)} in the section for every {high}.",
        ]
    )


def _bullets() -> List:
    dice = random.Random(4)
    chains = [[list(_upwards(leaf))[::-1] for leaf in dice.sample(LEAVES, 3)] for _ in range(10)]
    return [["  " * depth + f"- {term}" for c in group for depth, term in enumerate(c)] for group in chains]


def _members() -> List:
    dice = random.Random(5)
    heads = [dice.sample(list(TREE), 12) for _ in range(10)]
    return [[f"Kinds of {head}: {', '.join(TREE[head])}." for head in group] for group in heads]


def _paths() -> List:
    dice = random.Random(6)
    return [
        [" > ".join(list(_upwards(leaf))[::-1]) for leaf in sorted(dice.sample(LEAVES, 12), key=LEAVES.index)]
        for _ in range(10)
    ]


def _facts(shuffled: bool) -> List:
    dice = random.Random(7)
    people = ["Ada Quill", "Tomas Berg", "Lin Marrow", "Oren Faye", "Sela Dunn"] * 2
    said = [
        "{} was born in {}.",
        "{} wrote a book about {}.",
        "{} taught for years in {}.",
        "{} gave a lecture in {}.",
        "{} owned a mill near {}.",
        "{} painted the church of {}.",
        "{} left a fortune to {}.",
    ]
    towns = ["Arlen", "Moorby", "Castel", "Ouse", "Varn", "Thorpe"]
    return [
        [
            dice.choice(said).format(dice.choice(people) if shuffled else person, dice.choice(towns))
            for _ in range(12)
        ]
        for person in people
    ]


WORDINGS: dict[str, List] = {
    "A is a B": _documents(lambda p: f"{a(p[0]).capitalize()} is {a(p[1])}."),
    "A, a kind of B": _documents(lambda p: f"{a(p[0]).capitalize()}, a kind of {p[1]}."),
    "B includes A": [d[::-1] for d in _documents(lambda p: f"{p[1].capitalize()} includes {p[0]}.")],
    "A subClassOf B": _documents(lambda p: f"{camel(p[0])} subClassOf {camel(p[1])}"),
    "triples": _documents(lambda p: f"ex:{camel(p[0])} rdfs:subClassOf ex:{camel(p[1])} ."),
    "is_a with ids": _documents(lambda p: f"TO:{sum(map(ord, p[0])):07d} {p[0]} is_a {p[1]}"),
    "every A falls under B": _documents(lambda p: f"Every {p[0]} falls under the heading of {p[1]}."),
    "definitions": _documents(lambda p: f"{p[0].capitalize()}: {a(p[1])} made for one use and no other"),
    "wordy": _documents(_verbose),
    "with pronouns": _documents(lambda p: f"This {p[0]} of ours is also {a(p[1])}, so they say."),
    "bullets": _bullets(),
    "members from the top": _members(),
    "paths": _paths(),
    "facts of one person": _facts(shuffled=False),
    "facts of anybody": _facts(shuffled=True),
}
