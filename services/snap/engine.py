"""Search and projection over a bank, several requests at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextvec.errors import FailedPrecondition, NextvecError
from nextvec.vectors import Array, cosine, unit
from services.snap.bank import Bank, Entry
from services.snap.projection import DEFAULT_POLICY, NEIGHBOURS, Projection, near_duplicates, policy_named

FARTHEST = 8192
"""Nearest entries that are looked through for some that are not excluded. It bounds the work of a request,
and is well above what it can ask for and exclude by id."""

_SPARE = 64  # entries searched for at once beyond the neighbours asked for, where ids are excluded


@dataclass(frozen=True)
class ProjectItem:
    """What one projection asks. Vectors have any length; only directions are used."""

    vector: Array  # [D]
    query: Array  # [D]
    context: Array  # [n, D], oldest first
    policy: str = DEFAULT_POLICY
    k: int = NEIGHBOURS
    exclude_ids: frozenset[int] = frozenset()
    exclude_cosine: float | None = None  # to any vector of the context


@dataclass(frozen=True)
class SearchItem:
    """What one search asks."""

    query: Array  # [D]
    k: int = NEIGHBOURS
    preceding: int = 0
    exclude_ids: frozenset[int] = frozenset()
    exclude_cosine: float | None = None  # to the query


@dataclass(frozen=True)
class Neighbour:
    """An entry of the bank and its cosine to the vector asked about."""

    entry: Entry
    cosine: float


@dataclass(frozen=True)
class Projected:
    """A projection, the neighbours it used, best first, with raw vectors [K, D], and how near it stays.

    `cos_vector` is its cosine to the vector asked about.
    """

    projection: Projection
    neighbours: list[Neighbour]
    vectors: Array
    cos_vector: float


@dataclass(frozen=True)
class Found:
    """Neighbours, best first, with raw vectors [K, D]; chunks before the best one, with vectors [P, D]."""

    neighbours: list[Neighbour]
    vectors: Array
    preceding: list[Neighbour]
    preceding_vectors: Array


class SnapEngine:
    """Answers items with one bank."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._farthest = min(FARTHEST, len(bank))

    def run(self, items: Sequence[ProjectItem | SearchItem]) -> list[Projected | Found | Exception]:
        """One answer per item, in order; an item that cannot be answered gets its error."""
        directions = unit(np.stack([i.vector if isinstance(i, ProjectItem) else i.query for i in items]))
        cosines, rows = self.bank.search(directions, max(_wanted(item) for item in items))
        answers: list[Projected | Found | Exception] = []
        for item, direction, near, row in zip(items, directions, cosines, rows, strict=True):
            try:
                answers.append(self._answer(item, direction, near, row))
            except NextvecError as error:
                answers.append(error)
        return answers

    def project(self, item: ProjectItem) -> Projected:
        """Projects one vector; raises FailedPrecondition where the exclusions leave no neighbour."""
        answer = self._alone(item)
        assert isinstance(answer, Projected)
        return answer

    def search(self, item: SearchItem) -> Found:
        """Searches for one query."""
        answer = self._alone(item)
        assert isinstance(answer, Found)
        return answer

    def _alone(self, item: ProjectItem | SearchItem) -> Projected | Found:
        (answer,) = self.run([item])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(
        self, item: ProjectItem | SearchItem, direction: Array, cosines: Array, rows: np.ndarray
    ) -> Projected | Found:
        references = item.context if isinstance(item, ProjectItem) else item.query[None]
        cosines, rows = self._kept(item, references, direction, cosines, rows)
        neighbours = [
            Neighbour(self.bank.entry(int(row)), float(near)) for row, near in zip(rows, cosines, strict=True)
        ]
        vectors = self.bank.raw(rows)  # [K, D]
        if isinstance(item, SearchItem):
            before = self.bank.preceding(int(rows[0]), item.preceding) if len(rows) else []
            before_vectors = self.bank.raw([entry.id for entry in before])
            near_before = cosine(before_vectors, direction)
            preceding = [Neighbour(e, float(c)) for e, c in zip(before, near_before, strict=True)]
            return Found(neighbours, vectors, preceding, before_vectors)
        if not neighbours:
            raise FailedPrecondition(
                f"the exclusions leave none of the {self._farthest} entries nearest to the vector; "
                "exclude less"
            )
        projection = policy_named(item.policy)(vectors, cosines, item.query, item.context)
        return Projected(projection, neighbours, vectors, float(cosine(projection.vector, direction)))

    def _kept(
        self,
        item: ProjectItem | SearchItem,
        references: Array,
        direction: Array,
        cosines: Array,
        rows: np.ndarray,
    ) -> tuple[Array, np.ndarray]:
        """The k best entries that are not excluded; looks further, up to FARTHEST, where too many are."""
        while True:
            keep = ~np.isin(rows, list(item.exclude_ids))
            if item.exclude_cosine is not None:
                keep &= ~near_duplicates(self.bank.raw(rows), references, item.exclude_cosine)
            if keep.sum() >= item.k or len(rows) >= self._farthest:
                return cosines[keep][: item.k], rows[keep][: item.k]
            farther = max(4 * len(rows), item.k + len(item.exclude_ids))
            (cosines,), (rows,) = self.bank.search(direction[None], min(farther, self._farthest))


def _wanted(item: ProjectItem | SearchItem) -> int:
    return item.k + min(len(item.exclude_ids), _SPARE)
