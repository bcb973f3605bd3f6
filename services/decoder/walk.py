"""A vector on its way to text: the hypotheses so far, and whether another one can still come."""

from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """What a vector reads as after `step` corrections.

    `ids` are raw, with the start token; `cosine` is that of the text's own vector [D] to the one decoded.
    The vector is None where the hypothesis comes from a cache.
    """

    step: int
    ids: tuple[int, ...]
    text: str
    cosine: float
    vector: Tensor | None = None


@dataclass(eq=False)
class Walk:
    """One vector [D], float32, and its hypotheses in order of steps.

    A walk may be taken up in the middle: then `hypotheses` holds the best one of the steps left out, where
    that is another one, and the last.
    """

    target: Tensor
    hypotheses: list[Hypothesis] = field(default_factory=list)
    closed: bool = False

    @property
    def steps(self) -> int:
        """Corrections done; -1 before the first hypothesis."""
        return self.hypotheses[-1].step if self.hypotheses else -1

    @property
    def last(self) -> Hypothesis:
        """The latest hypothesis."""
        return self.hypotheses[-1]

    @property
    def best(self) -> Hypothesis:
        """The hypothesis nearest to the vector; of equals the earliest."""
        return max(self.hypotheses, key=lambda hypothesis: hypothesis.cosine)

    @property
    def standing(self) -> "Standing":
        """What it takes to go on from here later."""
        return Standing(self.best, self.last, self.closed)

    def at(self, step: int) -> Hypothesis:
        """The text after `step` corrections, of a walk that was not taken up in the middle.

        Beyond the end of a closed walk that is the one which the repetition comes to.
        """
        if step < len(self.hypotheses):
            return self.hypotheses[step]
        if not self.closed:
            raise IndexError(f"the walk has {self.steps} corrections, not {step}")
        first = next(h.step for h in self.hypotheses if h.ids == self.last.ids)
        period = self.steps - first
        return self.hypotheses[first + (step - first) % period]

    def reaches(self, step: int) -> bool:
        """Whether nothing is left to do for `step` corrections."""
        return self.closed or self.steps >= step

    def add(self, hypothesis: Hypothesis) -> None:
        """Appends a hypothesis. One that had come before closes the walk.

        A correction depends on the hypothesis alone, so from there on the texts repeat themselves.
        """
        self.closed = any(earlier.ids == hypothesis.ids for earlier in self.hypotheses)
        self.hypotheses.append(hypothesis)


@dataclass(frozen=True)
class Standing:
    """Where a walk stands: its best and its last hypothesis, and whether it is closed."""

    best: Hypothesis
    last: Hypothesis
    closed: bool

    def resume(self, target: Tensor) -> Walk:
        """A walk that goes on from here, for the vector [D] it was made for."""
        hypotheses = [self.last] if self.best.step == self.last.step else [self.best, self.last]
        return Walk(target, hypotheses, self.closed)

    def without_vectors(self) -> "Standing":
        """The same, small enough to be kept."""
        return replace(self, best=replace(self.best, vector=None), last=replace(self.last, vector=None))
