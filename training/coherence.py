"""Whether chunks in a row are a sequence worth predicting: what their vectors, or their words, give away.

A model of the next vector learns from text that moves on: each chunk near to the ones before it, drifting
away slowly. Three kinds of data break that. Chains and trees of terms leap: each chunk is close to the next
and far from the one after. Lists repeat: everything is close to everything. Shuffled facts stand still:
neighbours are no closer than any pair. High similarity of neighbours alone says nothing, since chains of
terms have the highest.

The bounds were set between the extremes of prose (encyclopedias, textbooks, technical documents, novels and
speeches, by source) and of term hierarchies in a dozen wordings, in the space of the `mini` family. Cosines
are judged relative to the cosine of unrelated chunks, so that spaces where all vectors are alike can be
judged too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from nextvec.vectors import Array

SHORTEST = 6  # chunks in a row: a context of five and a target
FARTHEST = 12  # distance up to which the profile is reported
_LONG = 10  # chunks: from here on far pairs are six apart and more, below that four
_FEWEST = 8  # runs that a judgement of order needs
_ERRORS = 1.65  # standard errors on either side: a one-sided test at 5%
_PAIRS = 4000  # of unrelated chunks


class Verdict(StrEnum):
    """What a check comes to; later ones are worse."""

    PASS = "PASS"
    MARGINAL = "MARGINAL"
    FAIL = "FAIL"

    @classmethod
    def worst(cls, verdicts: Sequence["Verdict"]) -> "Verdict":
        """The worst of several, PASS where there are none."""
        return max(verdicts, key=list(cls).index, default=cls.PASS)


@dataclass(frozen=True)
class Sign:
    """One thing that tells sequences from collections: its value, what prose shows, and the judgement."""

    name: str
    value: float
    prose: str
    verdict: Verdict
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} is {self.value:.3f}, prose has {self.prose}: {self.meaning}"


@dataclass(frozen=True)
class Bound:
    """From where on a value is doubtful and from where on it is wrong; `prose` is the measured range."""

    name: str
    doubtful: float
    wrong: float
    prose: str
    meaning: str

    def judge(self, value: float) -> Sign:
        """The sign of a value; whether high or low values are wrong follows from the two bounds."""
        direction = 1 if self.wrong > self.doubtful else -1
        verdict = Verdict.PASS
        if direction * (value - self.wrong) > 0:
            verdict = Verdict.FAIL
        elif direction * (value - self.doubtful) > 0:
            verdict = Verdict.MARGINAL
        return Sign(self.name, round(float(value), 4), self.prose, verdict, self.meaning)


@dataclass(frozen=True)
class Profile:
    """Mean cosines of chunks: neighbours, order shuffled, unrelated, and at each distance from 1 on."""

    neighbours: float
    shuffled: float
    far: float
    other_documents: float
    by_distance: list[float]


@dataclass(frozen=True)
class Report:
    """The verdict on a data set, with everything it rests on."""

    verdict: Verdict
    reasons: list[str]
    signs: list[Sign]
    profile: Profile | None
    documents: int
    runs: int
    chunks: int
    odd_documents: list[str]

    def as_dict(self) -> dict[str, object]:
        """The report as JSON has it."""
        return asdict(self)


_NEIGHBOURS = Bound(
    "likeness of neighbours",
    0.42,
    0.50,
    "0.08 to 0.30",
    "neighbours say nearly the same, as entries of a list do",
)
_UNRELATED = Bound(
    "likeness of neighbours beyond unrelated chunks",
    0.05,
    0.03,
    "0.08 to 0.30",
    "neighbours have nothing to do with each other",
)
_LEAP = Bound(
    "leap behind the neighbour",
    0.075,
    0.10,
    "0.01 to 0.06",
    "a chunk is close to the next and far from the one after, as in a chain of terms",
)
_ORDER = (0.012, "0.03 to 0.09")  # the drift that order has to cause, over runs of ten and more
_ORDER_SHORT = (0.006, "0.01 to 0.05")  # over shorter ones, where far pairs are not far
_ODD_LEAP, _ODD_LIKENESS = 0.20, 0.55  # of one run; 0.5% of the runs of prose are beyond
_ODD = Bound("share of odd documents", 0.03, 0.15, "0.00 to 0.01", "some documents are term lists or chains")
_ODD_SHORT = Bound("share of odd runs of six", 0.10, 0.25, "0.00 to 0.07", _ODD.meaning)


def profile_of(runs: Sequence[Array], owners: Sequence[int]) -> Profile:
    """Mean cosines of runs of vectors [n, D], each of the document that `owners` numbers.

    Unrelated pairs come from different documents, or from different runs where there is one document;
    with a single run their cosine is taken to be 0, which it is in a standardised space.
    """
    cosines = [_cosines(run) for run in runs]
    by_distance = [
        float(np.mean([np.diagonal(c, d).mean() for c in cosines if len(c) > d]))
        for d in range(1, FARTHEST + 1)
        if any(len(c) > d for c in cosines)
    ]
    shuffled = [c[np.triu_indices(len(c), 1)].mean() for c in cosines]
    return Profile(
        neighbours=by_distance[0],
        shuffled=float(np.mean(shuffled)),
        far=float(np.mean([_far(c) for c in cosines])),
        other_documents=_unrelated(runs, owners),
        by_distance=by_distance,
    )


def vector_signs(runs: Sequence[Array], profile: Profile) -> list[Sign]:
    """What runs of vectors [n >= 6, D] show, relative to the cosine of unrelated chunks."""
    room = max(1e-3, 1 - profile.other_documents)
    neighbours = (profile.neighbours - profile.other_documents) / room
    leap = (profile.by_distance[0] - profile.by_distance[1]) / room
    return [
        _NEIGHBOURS.judge(neighbours),
        _UNRELATED.judge(neighbours),
        _LEAP.judge(leap),
        order_sign(runs, room),
    ]


def order_sign(runs: Sequence[Array], room: float = 1.0) -> Sign:
    """Whether chunks two and three apart are closer than chunks far apart, as they are in any prose.

    Neighbours are left out: the halves of one long sentence are neighbours in any order of sentences.
    """
    long = [run for run in runs if len(run) >= _LONG]
    bar, prose = _ORDER if len(long) >= _FEWEST else _ORDER_SHORT
    used = long if len(long) >= _FEWEST else runs
    drift = np.array([_drift(_cosines(run)) for run in used]) / room
    error = _ERRORS * drift.std(ddof=1) / np.sqrt(len(drift)) if len(drift) > 1 else np.inf
    value = float(drift.mean())
    if len(used) < _FEWEST:
        verdict, meaning = (
            Verdict.MARGINAL,
            f"{len(used)} runs of chunks are too few to tell whether order matters",
        )
    elif value - error >= bar:
        verdict, meaning = Verdict.PASS, "chunks drift away from each other in reading order"
    elif value + error < bar:
        verdict, meaning = Verdict.FAIL, "chunks near to each other are no more alike than chunks far apart"
    else:
        verdict, meaning = Verdict.MARGINAL, "the effect of order is too small to be sure of"
    return Sign("drift in reading order", round(value, 4), prose, verdict, meaning)


def odd_runs(runs: Sequence[Array], profile: Profile) -> list[int]:
    """Indices of the runs that leap or repeat as no run of prose does."""
    room = max(1e-3, 1 - profile.other_documents)
    odd = []
    for index, run in enumerate(runs):
        cosines = _cosines(run)
        near, next_but_one = (float(np.diagonal(cosines, d).mean()) for d in (1, 2))
        if near - next_but_one > _ODD_LEAP * room or near - profile.other_documents > _ODD_LIKENESS * room:
            odd.append(index)
    return odd


def odd_sign(odd: int, of: int, runs: Sequence[Array]) -> Sign:
    """The sign of so many odd documents; runs of six are odd by chance more often than longer ones."""
    short = all(len(run) <= SHORTEST for run in runs) and len(runs) > 0
    return (_ODD_SHORT if short else _ODD).judge(odd / of)


def conclude(signs: Sequence[Sign]) -> tuple[Verdict, list[str]]:
    """The worst judgement, and the signs that are not as prose has them, worst first."""
    verdict = Verdict.worst([sign.verdict for sign in signs])
    worse = [v for v in reversed(list(Verdict)) if v != Verdict.PASS]
    return verdict, [f"{v}: {sign}" for v in worse for sign in signs if sign.verdict == v]


def _cosines(run: Array) -> np.ndarray:
    units = run / np.maximum(np.linalg.norm(run, axis=1, keepdims=True), 1e-12)
    return units @ units.T


def _far(cosines: np.ndarray) -> float:
    start = 6 if len(cosines) >= _LONG else 4
    return float(np.concatenate([np.diagonal(cosines, d) for d in range(start, len(cosines))]).mean())


def _drift(cosines: np.ndarray) -> float:
    near = (np.diagonal(cosines, 2).mean() + np.diagonal(cosines, 3).mean()) / 2
    return float(near) - _far(cosines)


def _unrelated(runs: Sequence[Array], owners: Sequence[int]) -> float:
    if len(runs) < 2:
        return 0.0
    random = np.random.default_rng(0)
    one_document = len(set(owners)) == 1
    first, second = random.integers(0, len(runs), (2, _PAIRS))
    cosines = []
    for a, b in zip(first, second, strict=True):
        if a == b or (owners[a] == owners[b] and not one_document):
            continue
        x, y = runs[a][random.integers(len(runs[a]))], runs[b][random.integers(len(runs[b]))]
        cosines.append(float(x @ y) / max(1e-12, float(np.linalg.norm(x) * np.linalg.norm(y))))
    return float(np.mean(cosines)) if cosines else 0.0
